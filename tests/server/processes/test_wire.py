"""Records of a data connection: their bytes, and how they are cut out of a stream."""

from tessella.server.processes.wire import Kind, Reply, Request, Status

REQUEST = Request(2**63, 4095, 70_000, 224, 8192, 1, Kind.RUN, 255, 1, 1e9)
REPLY = Reply(2**63, Status.DONE, 512, 2**31, 0.5, 0.25)


def test_records_are_unpacked_as_they_were_packed() -> None:
    assert [*Request.unpack_all(bytearray(REQUEST.pack()))] == [REQUEST]
    assert [*Reply.unpack_all(bytearray(REPLY.pack()))] == [REPLY]


def test_an_incomplete_record_stays_in_the_buffer() -> None:
    stream = REPLY.pack() * 3
    buffer = bytearray(stream[:-1])
    assert [*Reply.unpack_all(buffer)] == [REPLY, REPLY]
    buffer += stream[-1:]
    assert [*Reply.unpack_all(buffer)] == [REPLY]
    assert buffer == b""


def test_records_have_the_same_size_in_both_processes() -> None:
    assert (Request.LAYOUT.size, Reply.LAYOUT.size) == (36, 24)
    assert Request.LAYOUT.format.startswith("<")
    assert Reply.LAYOUT.format.startswith("<")
