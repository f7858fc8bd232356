"""What pyproject.toml cannot say: where the wheel has the commands, and the files of a new project.

The repository has the commands in stages/. A wheel must not install a package of such a general name, so it has them in
gift_core/stages. An editable installation maps that name to stages/, so `gift` runs the code of the clone. It has the
names `stages`, `recipes.mini` and `recipes.versions`, too, which the benchmarks import, and `benchmarks`.
"""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).parent
SHIPPED = runpy.run_path(str(ROOT / "gift_core" / "layout.py"))
TEMPLATE = ROOT / "gift_core" / "new_project" / "template"  # package_data leaves out hidden folders, such as .github


class BuildWheel(build_py):
    """Adds what the repository has outside of its packages: what `gift init` copies, the guides, and the examples."""

    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what an earlier build left would be in the wheel
        super().run()
        pages = [*SHIPPED["guides"]().values(), *sorted(ROOT.glob(SHIPPED["EXAMPLES"]))]
        for name in (*SHIPPED["shipped_files"](), *(file.relative_to(ROOT).as_posix() for file in pages)):
            self._add(name, f"gift_core/{SHIPPED['IN_WHEEL']}/{name}")
        for file in sorted(TEMPLATE.rglob("*")):
            if file.is_file():
                self._add(file.relative_to(ROOT).as_posix(), file.relative_to(ROOT).as_posix())

    def _add(self, name: str, target: str) -> None:
        path = Path(self.build_lib, target)
        self.mkpath(str(path.parent))
        self.copy_file(str(ROOT / name), str(path))


class EditableWheel(editable_wheel):
    """Adds the names `stages`, `benchmarks`, `recipes.mini` and `recipes.versions`."""

    def run(self) -> None:
        self.distribution.packages += ["stages", "benchmarks", "recipes.mini", "recipes.versions"]
        super().run()


STAGES = ["gift_core.stages", "gift_core.stages.commands", "gift_core.stages.dvc"]
NO_PACKAGES = ["gift_core.new_project.*"]  # what `gift init` copies is data, no packages

setup(
    packages=[*find_namespace_packages(include=["gift_core*"], exclude=NO_PACKAGES), *STAGES],
    package_dir={"gift_core.stages": "stages"},
    package_data={"": ["*.html", "*.css", "*.js", "*.csv", "*.json", "*.yaml", "*.j2", "*.md"]},
    include_package_data=False,
    cmdclass={"build_py": BuildWheel, "editable_wheel": EditableWheel},
)
