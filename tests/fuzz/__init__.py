"""A fuzzer of our own: valid inputs of every reader, spoilt, must be accepted or refused by us.

``python -m tests.fuzz --seconds 60`` tries for a minute, ``--inputs 1000000 --workers 2`` as many
inputs. An input follows from reader, seed and number, so a fault is one command to replay:
``python -m tests.fuzz --reader npz --seed 0 --only 12345 --keep faults``.

A fault is any exception but ``SodkitError``, a word on stdout or stderr (warnings, too), more than
10 s, more than 2 GB, or a process that dies.

===================  =====================================================
``reader``           what a reader under test is; inputs from seed and number
``annotations`` ...  the readers: their valid inputs, made by our writers, and a call
``spoil_...``        changes of bytes, lines, trees (JSON, YAML), XML, archives, images
``watch``            one call, watched
``pool``             many inputs in forked processes
``report``           faults by class, kept inputs
===================  =====================================================
"""
