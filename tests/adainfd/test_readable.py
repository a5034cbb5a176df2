"""Which descriptors are readable."""

import os

from adainfd.runtime.readable import Readable


def test_one_that_is_written_to_is_readable_and_a_closed_end_is_heard() -> None:
    readable, pipes = Readable(), [os.pipe() for _ in range(3)]
    asked = [read for read, _ in pipes]
    assert readable.among(asked, 0.0) == set()
    os.write(pipes[1][1], b"!")
    os.close(pipes[2][1])
    assert readable.among(asked, 5.0) == {pipes[1][0], pipes[2][0]}
    assert readable.among([pipes[0][0], pipes[1][0]], 0.0) == {pipes[1][0]}
    for descriptor in (pipes[0][0], pipes[0][1], pipes[1][0], pipes[1][1], pipes[2][0]):
        os.close(descriptor)


def test_another_file_of_the_same_number_is_what_is_looked_at() -> None:
    readable = Readable()
    read, write = os.pipe()
    os.write(write, b"!")
    assert readable.among([read], 0.0) == {read}
    os.close(read), os.close(write)
    fresh = os.pipe()
    os.dup2(fresh[0], read)
    assert readable.among([read], 0.0) == set()
    for descriptor in {*fresh, read}:
        os.close(descriptor)
