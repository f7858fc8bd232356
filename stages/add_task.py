"""add-task NAME: a data set of one's own becomes a row of tasks and the last step of the sequence."""

from __future__ import annotations

from stages import task_options as options
from stages.stage import PARAMS, ROOT, Params, Root


def add_task(
    name: options.Name,
    images: options.Images,
    template: options.Templates = None,
    test_fraction: options.TestFraction = 0.2,
    on_bad_image: options.BadImage = options.OnBadImage.REFUSE,
    class_names: options.ClassNames = None,
    shots: options.Shots = None,
    learning_rate_factor: options.Factor = 1.0,
    link: options.Link = False,
    copy: options.Copy = False,
    dry_run: options.DryRun = False,
    table: options.Table = None,
    image_column: options.ImageColumn = None,
    label_column: options.LabelColumn = None,
    split_column: options.SplitColumn = None,
    webdataset: options.Tars = None,
    webdataset_test: options.TestTars = None,
    label: options.Label = None,
    params: Params = PARAMS,
    root: Root = ROOT,
) -> None:
    """Add a data set of your own as the next task: its row and its step in params.yaml.

    The data set is checked first and its classes are shown; params.yaml keeps
    its comments and order. An error changes nothing.
    """
    import typer

    from gift_core.tasks.adding import plan_task
    from gift_core.tasks.new_row import new_row
    from stages.new_task import show_addition, show_next

    columns = {"image_column": image_column, "label_column": label_column, "split_column": split_column}
    tars = {"train": webdataset, "test": webdataset_test, "label": label}
    row = new_row(
        images, templates=template or [], test_fraction=test_fraction, on_bad_image=on_bad_image.value,
        class_names=class_names, shots=shots, table={"table": table, **columns}, tars=tars,
    )  # fmt: skip
    place = options.chosen_place(link=link, copy=copy)
    addition = plan_task(name, row, images, params=params, root=root, factor=learning_rate_factor, place=place)
    show_addition(name, addition)
    if dry_run:
        typer.echo("--dry-run: nothing was written")
        return
    addition.carry_out()
    show_next(addition.config, name)
