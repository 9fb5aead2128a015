"""What image decoders write to the terminal past Python: kept off it, counted, summed up.

libjpeg, libpng and OpenCV always write to file descriptor 2, from whatever thread. So while a
command runs, that descriptor is a pipe. A thread reads it: it counts the lines of the decoders and
passes all others on to the terminal. Our own output takes another way: ``sys.stderr`` writes to the
terminal itself.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

_DECODER = re.compile(
    "Corrupt JPEG data|Premature end of JPEG|Invalid SOS|Inconsistent progression sequence"
    "|Unknown Adobe color transform|Warning: unknown JFIF revision|Application transferred too many"
    "|libpng (warning|error)"
)
"""How the warnings of libjpeg (all that it has) and of libpng start."""
_OPENCV = re.compile(r"\[ ?(WARN|ERROR):[^]]*\] \S+ \S+:\d+ \S+ ?")
"""How a line of OpenCV's log starts."""
_HARMLESS = re.compile(r"Unknown field with tag|can't read (data|header)")
"""Private tags, which a GeoTIFF has; and what an error of ours says already."""
_FURTHER = (">", "  ", "Apparently should be")
"""How the further lines of a message start: OpenCV's, then libtiff's."""
_END = b"\0end of the command\n"
_SHOWN = 5


@contextmanager
def decoders_quiet() -> Iterator[None]:
    """Keep the lines of image decoders off the terminal while the block runs; then sum them up."""
    terminal, (source, sink) = os.dup(2), os.pipe()
    gathered = Counter[str]()
    thread = Thread(target=_forward, args=(source, terminal, gathered), daemon=True)
    stderr = sys.stderr
    stderr.flush()
    sys.stderr = _text_on(terminal, stderr)
    os.dup2(sink, 2)
    os.close(sink)
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.write(2, _END)  # a child may hold the pipe open: it does not end by itself
        os.dup2(terminal, 2)
        thread.join()
        sys.stderr = stderr
        os.close(terminal)
        for line in summary(gathered):
            print(line, file=sys.stderr)


def summary(gathered: Counter[str]) -> list[str]:
    """Return what the decoders wrote as a few lines."""
    if not gathered:
        return []
    kinds = [f"  {count} x {line}" for line, count in gathered.most_common(_SHOWN)]
    rest = len(gathered) - _SHOWN
    more = [f"  and {rest} other messages"] if rest > 0 else []
    head = "images are damaged (what can be read of them is taken); their decoders say:"
    return [head, *kinds, *more]


def _text_on(descriptor: int, like: object) -> io.TextIOWrapper:
    """Return a text file on a descriptor that stays open, of another one's encoding."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    encoding = getattr(like, "encoding", None) or "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=True
    )


def _forward(source: int, terminal: int, gathered: Counter[str]) -> None:
    """Pass lines on until the last one, and count those of decoders."""
    in_message = False
    with open(source, "rb") as pipe:
        for data in pipe:
            own, end, _ = data.partition(_END.rstrip(b"\n"))
            line = own.decode(errors="replace").rstrip("\n")
            what = message_of(line)
            goes_on = in_message and (not line.strip() or line.startswith(_FURTHER))
            in_message = what is not None or goes_on
            if what:
                gathered[what] += 1
            elif not in_message and own:
                with suppress(OSError):  # nobody reads it: the pipe must be emptied all the same
                    os.write(terminal, own)
            if end:
                return


def message_of(line: str) -> str | None:
    """Return what a decoder's line says, with "" for harmless things; None if it is another's."""
    logged = _OPENCV.match(line)
    if logged is None and _DECODER.search(line) is None:
        return None
    text = line[logged.end() :] if logged else line
    return "" if _HARMLESS.search(text) else re.sub(r"\b(0x[0-9a-f]+|\d+)\b", "N", text).strip()
