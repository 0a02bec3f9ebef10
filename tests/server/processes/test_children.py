"""State of child processes, from which the supervisor judges whether they hang and which may be connected."""

from tessella.server.processes.children import ChildProcesses

from ...support.children import child


def test_an_engine_is_loading_until_it_has_all_assigned_models() -> None:
    starting, loading, loaded = (child("engine", index) for index in range(3))
    loading.started, loading.assigned, loading.models = True, {1, 2}, {1: {}}
    loaded.started, loaded.assigned, loaded.models = True, {1, 2}, {1: {}, 2: {}, 3: {}}
    assert [engine.loading for engine in (starting, loading, loaded)] == [True, True, False]


def test_a_front_end_is_loading_until_it_is_ready() -> None:
    waiting, ready = child("frontend"), child("frontend", 1)
    ready.ready = True
    assert [front_end.loading for front_end in (waiting, ready)] == [True, False]


def test_children_are_listed_by_kind_and_state() -> None:
    starting, started, front_end = child("engine"), child("engine", 1), child("frontend")
    started.started = True
    children = ChildProcesses({starting, started, front_end})
    assert set(children.engines) == {starting, started}
    assert children.started_engines == [started]
    assert children.front_ends == [front_end]


def test_log_name_has_index_and_pid() -> None:
    assert str(child("engine", 1)) == "engine 1 (pid 4711)"
