"""Training samples as batches, epoch by epoch, read by worker processes.

What goes wrong in a worker comes back as an error of ours: torch would garble it, or wait for a
batch that never comes. So does a worker that was killed, however the next batch fails for it.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.util import get_temp_dir
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing import get_sharing_strategy
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from sodkit.arrays import FloatArray
from sodkit.data.batches import Batch
from sodkit.data.samples.batch_memory import PIECES, Delivery, Pieces, Returns
from sodkit.data.samples.patch_dataset import Key, TrainingSet
from sodkit.data.samples.repeats import draw_copies, epoch_length
from sodkit.errors import SodkitError, UsageError
from sodkit.shares import share

SOCKET_NAME = 107
"""Bytes that the name of a Unix socket may have."""

GRACE = 2.0
"""Seconds that the end of a worker may be seen later than the end of its connection."""

T = TypeVar("T")


class WorkerGoneError(SodkitError):
    """A worker process was killed: as a rule because the memory was full.

    Args:
        reason: how it showed.
        advice: what needs less memory, beside fewer workers.
    """

    def __init__(self, reason: str, advice: str | None = None) -> None:
        hint = "the memory may be full: give fewer --workers"
        super().__init__(
            f"a worker process has gone: {reason}",
            hint=hint if advice is None else f"{hint}; {advice}",
        )
        self.reason = reason


class EpochBatches(Sampler[list[Key]]):
    """The batches of one epoch: a permutation drawn from (seed, epoch), cut into batches.

    ``epoch`` is set before each pass; it travels in the keys, so workers know it. ``start`` is the
    number of batches that a pass leaves out at its beginning.

    Args:
        count: images.
        batch: samples a batch.
        seed: of the order.
        repeats: (count,) how often an epoch takes each image on average; None: once.
        rank: which of ``parts`` processes the batches are for: each gets its share of every batch,
            and where there is no image for it, the batch's first one as a stand-in.
        parts: how many processes.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        *,
        seed: int,
        repeats: FloatArray | None = None,
        rank: int = 0,
        parts: int = 1,
    ) -> None:
        self._rank, self._parts = rank, parts
        self._batch, self._seed, self._repeats = batch, seed, repeats
        self._images = count
        self._count = count if repeats is None else epoch_length(repeats)
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return -(-self._count // self._batch)

    def __iter__(self) -> Iterator[list[Key]]:
        keys = self._keys()
        for start in range(self.start * self._batch, self._count, self._batch):
            batch = keys[start : start + self._batch]
            mine = share(len(batch), self._rank, self._parts)
            yield batch[mine.start : mine.stop] or batch[:1]

    def images(self, number: int) -> int:
        """Return how many images batch ``number`` has, over all processes."""
        return min(self._batch, self._count - number * self._batch)

    def _keys(self) -> list[Key]:
        """Return the keys of all samples of the epoch, in its order."""
        rng = np.random.default_rng((self._seed, self.epoch))
        if self._repeats is None:
            return [(self.epoch, int(index)) for index in rng.permutation(self._count)]
        copies = draw_copies(self._repeats, rng)
        image = np.repeat(np.arange(self._images), copies)
        copy = np.arange(self._count) - np.repeat(np.cumsum(copies) - copies, copies)
        pairs = np.stack([image, copy], axis=1)[rng.permutation(self._count)].tolist()
        return [(self.epoch, i) if k == 0 else (self.epoch, i, k) for i, k in pairs]


class Batches:
    """A training set as batches, epoch by epoch, read by worker processes that live on.

    Args:
        dataset: the samples.
        batch: samples a batch; the last one of an epoch may be smaller.
        seed: of the order.
        repeats: how often an epoch takes each image on average; None: once.
        rank, parts: see ``EpochBatches``.
        workers: worker processes, 0 to read in this one.

    Raises:
        UsageError: the folder for temporary files has too long a name for worker processes.
    """

    def __init__(
        self,
        dataset: TrainingSet,
        *,
        batch: int,
        seed: int,
        workers: int,
        repeats: FloatArray | None = None,
        rank: int = 0,
        parts: int = 1,
    ) -> None:
        if workers > 0:
            _check_socket_name()
        self._sampler = EpochBatches(
            len(dataset), batch, seed=seed, repeats=repeats, rank=rank, parts=parts
        )
        marks = torch.zeros(max(workers, 1), PIECES, dtype=torch.uint8)
        if workers > 0:
            marks.share_memory_()  # type: ignore[no-untyped-call]
        self._returns = Returns(marks)
        with _any_number_of_workers():
            self._loader = DataLoader(
                _Carrying(dataset, marks),
                batch_size=None,  # the sampler's keys are those of a whole batch
                sampler=self._sampler,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=torch.cuda.is_available(),
                worker_init_fn=_start_worker,
            )

    def __len__(self) -> int:
        return len(self._sampler)

    def images(self, number: int) -> int:
        """Return how many images batch ``number`` has, over all processes."""
        return self._sampler.images(number)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of ``epoch``, from number ``start`` on.

        Raises:
            DataError: an image that cannot be read.
            WorkerGoneError: a worker process was killed.
        """
        self._sampler.epoch, self._sampler.start = epoch, start
        with _signals_kept(), _any_number_of_workers():
            iterator = self._received(lambda: iter(self._loader))
        while (item := self._received(lambda: next(iterator, None))) is not None:
            if isinstance(item, SodkitError):
                raise item
            yield self._returns.batch(item)

    def _received(self, receive: Callable[[], T]) -> T:
        """Return what ``receive`` gets from the workers.

        A worker that is killed breaks whatever was going on: its pipe ends (EOFError), its socket
        is reset, refuses or has no name any more (OSError), its message stops half-way (an error
        of pickle), or torch finds out (RuntimeError). So not the error's type says what happened
        but whether a worker has ended: an OSError about a file stays what it is.
        """
        try:
            return receive()
        except Exception as error:
            if self._a_worker_has_ended():
                raise WorkerGoneError(f"{type(error).__name__}: {error}") from error
            raise

    def _a_worker_has_ended(self) -> bool:
        # torch has no public name for its processes
        workers = getattr(self._loader._iterator, "_workers", ())
        return bool(wait([worker.sentinel for worker in workers], GRACE)) if workers else False


class _Carrying(Dataset[Delivery | SodkitError]):
    """Batches by the keys of their samples; errors of ours are returned, torch would garble them.

    A worker writes them to shared memory from the start. Left to torch, a failure to get any would
    be waited for without end.

    Args:
        dataset: the samples.
        marks: (workers or 1, pieces) of ``Pieces``.
    """

    def __init__(self, dataset: TrainingSet, marks: Tensor) -> None:
        self._dataset, self._marks = dataset, marks
        self._pieces: Pieces | None = None  # each process has its own

    def __getitem__(self, keys: Sequence[Key]) -> Delivery | SodkitError:
        info = get_worker_info()
        worker = 0 if info is None else info.id
        if self._pieces is None:
            new = _new_memory if info is None else _new_shared_memory
            self._pieces = Pieces(self._marks[worker], new)
        number = self._pieces.free()
        try:
            batch = self._dataset.batch(keys, partial(self._pieces.memory, number))
        except SodkitError as error:
            return error
        self._pieces.use(number)
        return Delivery(batch, worker, number, batch.images)


def _new_memory(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8)


def _new_shared_memory(count: int) -> Tensor:
    """Return ``count`` bytes of shared memory, not yet written; ``share_memory_`` would copy.

    Raises:
        SodkitError: there is too little of it.
    """
    try:
        storage = torch.UntypedStorage._new_shared(count)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise SodkitError(
            f"no shared memory for a batch: {error}",
            hint="give --workers 0, or more shared memory (docker run --shm-size=2g)",
        ) from error
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def _check_socket_name() -> None:
    """Refuse where a worker could not name its socket: torch would wait for it without end.

    Tensors come from a worker through a socket in the folder for temporary files, as
    ``listener-`` and eight letters; Linux takes 107 bytes for the whole name.
    """
    if get_sharing_strategy() != "file_descriptor":  # type: ignore[no-untyped-call]
        return
    folder = get_temp_dir()
    longest = SOCKET_NAME - len("/listener-12345678")
    if len(os.fsencode(folder)) > longest:
        raise UsageError(
            f"the name is too long: worker processes cannot open a socket in it ({longest} bytes)",
            where=folder,
            hint="set TMPDIR to a folder with a shorter name, /tmp say; --workers 0 needs none",
        )


@contextmanager
def _any_number_of_workers() -> Iterator[None]:
    """Keep PyTorch from warning of more workers than cores: the user's choice, slow at worst."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep torch from handling SIGCHLD while the block starts worker processes.

    Its handler raises RuntimeError wherever the program happens to be: while a file is written, or
    in a destructor, where it is lost in a traceback on stderr. Without it a worker that was killed
    is noticed when the next batch is fetched, after 5 s at most.
    """
    number = getattr(signal, "SIGCHLD", None)  # Windows has none
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(number) if number is not None and in_main else None
    try:
        yield
    finally:
        if number is not None and before is not None:
            signal.signal(number, before)


def _start_worker(_: int) -> None:
    """Keep OpenCV to one thread, as the workers are the parallelism, and leave Ctrl-C to training.

    A terminal sends Ctrl-C to all processes: training still finishes its step and saves.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
