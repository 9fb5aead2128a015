"""Where the numbers of a run go beside its CSV files: TensorBoard, MLflow, Weights & Biases.

A sink is anything with the two methods of ``Sink``. Each package is imported only where it is asked
for, and writes into the run's folder: nothing is sent anywhere.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from sodkit.engine.same_run import flat_settings
from sodkit.errors import MissingExtraError, UsageError
from sodkit.files import full_disk_named
from sodkit.settings import Recipe

SinkName = Literal["mlflow", "wandb"]
SINKS: tuple[SinkName, ...] = get_args(SinkName)


class Sink(Protocol):
    """Takes the numbers of a run."""

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Take numbers by name.

        Args:
            values: of a step or an epoch.
            step: steps done in the run; it never falls, but for a run that is resumed.
        """

    def close(self) -> None:
        """End: the run is over, or has failed."""


class TensorboardSink:
    """Writes event files into ``RUN/tensorboard``.

    Args:
        folder: the run's.
        steps: done already; what was written of later ones is dropped.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder / "tensorboard"
        purge = steps + 1 if steps else None
        self._writer: Any = SummaryWriter(str(self._folder), purge_step=purge)

    def numbers(self, values: dict[str, float], step: int) -> None:
        """See ``Sink``."""
        with full_disk_named(self._folder):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See ``Sink``."""
        self._writer.close()


class MlflowSink:
    """Writes to ``RUN/mlflow/mlflow.db``; a run that is resumed begins a new one there.

    Args:
        folder: the run's.
        recipe: its settings are the parameters.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        from mlflow.tracking import MlflowClient

        place = (folder / "mlflow").resolve()
        place.mkdir(parents=True, exist_ok=True)
        self._client: Any = MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}")
        known = self._client.get_experiment_by_name(recipe.name)
        experiment = (
            self._client.create_experiment(recipe.name, artifact_location=place.as_uri())
            if known is None
            else known.experiment_id
        )
        self._run: str = self._client.create_run(experiment, run_name=folder.name).info.run_id
        for key, value in flat_settings(recipe).items():
            self._client.log_param(self._run, key, value)

    def numbers(self, values: dict[str, float], step: int) -> None:
        """See ``Sink``."""
        for name, value in values.items():
            self._client.log_metric(self._run, name.replace("@", "_at_"), value, step=step)

    def close(self) -> None:
        """See ``Sink``."""
        self._client.set_terminated(self._run)


class WandbSink:
    """Writes to ``RUN/wandb``, offline: ``wandb sync`` sends it, if that is wanted.

    Args:
        folder: the run's.
        recipe: its settings are the configuration.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        import wandb

        self._run: Any = wandb.init(
            project=recipe.name, name=folder.name, dir=str(folder), mode="offline",
            config=flat_settings(recipe), settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip

    def numbers(self, values: dict[str, float], step: int) -> None:
        """See ``Sink``."""
        self._run.log(values, step=step)

    def close(self) -> None:
        """See ``Sink``."""
        self._run.finish()


def has_tensorboard() -> bool:
    """Return whether the package is installed."""
    return importlib.util.find_spec("tensorboard") is not None


def sink_names(text: str | None) -> tuple[SinkName, ...]:
    """Return the names in a text with commas between them.

    Raises:
        UsageError: one is unknown.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    unknown = [name for name in names if name not in SINKS]
    if unknown:
        raise UsageError(
            f"there is no '{unknown[0]}' to log to",
            where="--log-to",
            hint=f"known are {', '.join(SINKS)}; TensorBoard is used where it is installed",
        )
    return tuple(name for name in SINKS if name in names)


def check_sinks(names: Sequence[SinkName]) -> None:
    """Raise MissingExtraError for a sink whose package is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(name, name)


def open_sinks(names: Sequence[SinkName], folder: Path, recipe: Recipe) -> list[Sink]:
    """Return the named sinks of a run.

    Args:
        names: TensorBoard is not opened again: a run's log does that where it is installed.
        folder: the run's.
        recipe: the run's.

    Raises:
        MissingExtraError: a package is not installed.
    """
    check_sinks(names)
    made: dict[SinkName, Callable[[Path, Recipe], Sink]] = {
        "mlflow": MlflowSink, "wandb": WandbSink,
    }  # fmt: skip
    found: list[Sink] = []
    for name in names:
        try:
            found.append(made[name](folder, recipe))
        except ImportError as error:  # mlflow-skinny lacks what the database needs
            raise MissingExtraError(error.name or name, name) from error
    return found
