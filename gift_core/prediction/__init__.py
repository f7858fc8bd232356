"""Which class the images of any folder show: the images, the classes, the answers."""
