"""The served models by name and version, each with its state. They come, change and go while the others answer."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from .engine.engine import AsyncEngine
from .errors import BadRequest, LoadFailed, ModelNotFound, NotReady
from .lifecycle import abandon_after
from .model_names import DEFAULT_ALIAS, ModelSpec, parse_model_specs, split_version, validate_name
from .served_model import Loader, ModelControl, ServedModel, State
from .settings import Settings

GRACE_SECONDS = 2.0
"""Grace period for a request that already holds the engine and has not submitted its images yet."""


class EngineDrainer:
    """Draining engines of one process: they accept no new requests."""

    def __init__(self) -> None:
        self._draining: dict[AsyncEngine, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    def drain(self, engine: AsyncEngine) -> None:
        """Close the engine after in-flight requests finish."""
        task = asyncio.create_task(self._drain(engine))
        self._draining[engine] = task
        task.add_done_callback(lambda _: self._draining.pop(engine, None))

    async def join(self) -> None:
        """Wait until every engine that drains now is closed."""
        await asyncio.gather(*self._draining.values())

    async def close(self) -> None:
        """Close all draining engines, without the grace period."""
        self._closing.set()
        await self.join()

    async def _drain(self, engine: AsyncEngine) -> None:
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._closing.wait()
        except TimeoutError:
            pass
        await engine.close()


_log = logging.getLogger(__name__)


class ModelRepository:
    """All models of one service. A name with several versions means the newest that is loaded; `name:2` means that one.

    Args:
        load: makes the engine of a model; what it raises is the reason why the model has failed.
        served, aliases: instead of what the settings say, as when the models have changed since.
        changes: who changes the models, if not this process.

    Raises:
        ValueError: two models would be served under one name, or an alias stands for nothing.
    """

    def __init__(
        self,
        settings: Settings,
        load: Loader,
        *,
        served: Sequence[ServedModel] | None = None,
        aliases: Mapping[str, str] | None = None,
        changes: ModelControl | None = None,
    ) -> None:
        self._load_engine = load
        self._load_timeout = settings.load_timeout
        self._loading_since = time.monotonic()
        self._took: float | None = None
        """Seconds of the last load."""
        self._changes = changes
        self.aliases = dict(settings.aliases if aliases is None else aliases)
        found = parse_model_specs(settings.model, settings.models, settings.aliases)
        models = [ServedModel(spec) for spec in found] if served is None else served
        self._models = {model.spec.key: model for model in models}
        self._first = found[0].name
        self._changing = asyncio.Lock()
        self.drainer = EngineDrainer()

    @property
    def versions(self) -> list[ServedModel]:
        """Every version of every model, in order; those unloaded too, which can be loaded again."""
        return list(self._models.values())

    @property
    def default(self) -> str:
        """The name of the model that answers where none is named."""
        return self.find(None).name

    @property
    def models(self) -> dict[str, ServedModel]:
        """What each name means now."""
        return {name: self._newest(name) for name in dict.fromkeys(name for name, _ in self._models)}

    @property
    def state(self) -> State:
        """Of the whole: failed if one has failed, else loading if one is, else ready."""
        states = {model.state for model in self.versions}
        return "failed" if "failed" in states else "loading" if "loading" in states else "ready"

    @property
    def failures(self) -> list[str]:
        return [f"{model.name}: {model.reason}" for model in self.versions if model.state == "failed"]

    def find(self, name: str | None) -> ServedModel:
        """The model that a name, an alias or `name:version` means, whatever its state; None: the default one.

        Raises:
            ModelNotFound: there is none of that name.
        """
        asked = self.aliases.get(DEFAULT_ALIAS, self._first) if name is None else name
        asked = self.aliases.get(asked, asked)
        if any(asked == known for known, _ in self._models):
            return self._newest(asked)
        base, version = split_version(asked)
        model = self._models.get((self.aliases.get(base, base), version or 0))
        if model is None:
            raise ModelNotFound(f"no model {asked!r} is served; there is: {', '.join([*self.models, *self.aliases])}")
        return model

    def engine(self, name: str | None) -> AsyncEngine:
        """The engine that answers for `name`, or for the default model.

        Ask again after every `await`: another engine may have taken its place, and this one soon refuses.

        Raises:
            ModelNotFound: no model has that name.
            NotReady: it is still loading, or could not be loaded.
        """
        model = self.find(name)
        if model.unloaded:
            raise ModelNotFound(f"model {model.name!r} is not loaded; there is: {', '.join(self._loaded())}")
        if model.engine is None:
            message = f"model {model.name!r} is {model.state}{': ' if model.reason else ''}{model.reason}"
            left = None if self._took is None else self._took - (time.monotonic() - self._loading_since)
            raise NotReady(message, left)
        return model.engine

    def reject_if_full(self) -> None:
        """For a request whose body is not read yet and may name any model: refused where all of them are full.

        Raises:
            Overloaded: by the default model, where that is loaded.
        """
        engines = [model.engine for model in self.versions if model.engine]
        if engines and all(engine.admission.full for engine in engines):
            engine = self.find(None).engine or engines[0]
            engine.admission.reject_if_full()

    async def start(self) -> None:
        """Loads every model that is not there yet, one after the other. One that fails takes no other with it."""
        async with self._changing:
            for model in [model for model in self.versions if model.engine is None and not model.unloaded]:
                try:
                    model.engine = await self._timed_load(model)
                except Exception as error:
                    model.reason = str(error) or repr(error)
                    _log.error("model %s could not be loaded: %s", model.name, model.reason)
                if model.engine and self._models[model.spec.key] is not model:  # replaced since
                    self.drainer.drain(model.engine)

    async def load(self, name: str, source: str | None = None, version: int | None = None) -> ServedModel:
        """Loads a model beside the others and warms it; only then it answers for its name, or in its old form's place.

        Requests that the old form has accepted are answered by it; it is freed then. Both need memory until then.

        Args:
            name: of a new model, or of one that is there: `cats`, `cats:2`, or an alias.
            source: as of `--model`; default: where the model came from, or for a new one, the name itself.
            version: default: the one that is there, or 1.

        Raises:
            BadRequest: the name or version cannot be one.
            LoadFailed: with the reason; whatever was served still is.
            NotReady: nothing can be loaded at the moment.
        """
        spec = self._spec(name, source, version)
        if self._changes is not None:
            await self._changes.load(spec)
            return self.find(str(spec))
        async with self._changing:
            model = ServedModel(spec)
            try:
                model.engine = await abandon_after(self._load_timeout, self._timed_load(model))
            except Exception as error:
                _log.error("model %s could not be loaded: %s", spec, error)
                raise LoadFailed(f"model {spec} could not be loaded: {error or repr(error)}") from error
            self.install(model)
        return model

    async def unload(self, name: str) -> list[ServedModel]:
        """All versions of a model, or the one that `name:version` names, answer no longer. They can be loaded again.

        Raises:
            ModelNotFound: there is none of that name.
        """
        asked = self.find(name)
        every = self.aliases.get(name, name) == asked.name
        gone = [model for model in self.versions if model is asked or (every and model.name == asked.name)]
        if self._changes is not None:
            await self._changes.unload([model.spec for model in gone])
            return [self._models[model.spec.key] for model in gone]
        async with self._changing:
            return [self.remove(*model.spec.key) for model in gone]

    async def set_alias(self, alias: str, target: str | None) -> dict[str, str]:
        """From now on `alias` means `target`, a served name or `name:version`; None: nothing. Returns all aliases.

        Raises:
            BadRequest: it cannot be an alias.
            ModelNotFound: there is no such target, or no such alias to take away.
            NotReady: the target is loading, or has just gone.
        """
        if target is None and alias not in self.aliases:
            raise ModelNotFound(f"there is no alias {alias!r}; there is: {', '.join(self.aliases) or 'none'}")
        if target is not None:
            validate_name(alias)
            if alias in self.models or split_version(alias)[1]:
                raise BadRequest(f"{alias!r} is the name of a model, or of a version, and cannot be an alias as well")
            self.engine(target)
            target = self.aliases.get(target, target)
            target = target if target in self.models else str(self.find(target).spec)
        if self._changes is not None:
            await self._changes.set_alias(alias, target)
        elif target is None:
            del self.aliases[alias]
        else:
            self.aliases[alias] = target
        return self.aliases

    def install(self, model: ServedModel) -> None:
        """From now on `model` answers; what it replaces is freed once it has answered everything."""
        old = self._models.get(model.spec.key)
        self._models[model.spec.key] = model
        _log.info("model %s is %s", model.spec, "replaced" if old and old.engine else "loaded")
        if old and old.engine:
            self.drainer.drain(old.engine)

    def remove(self, name: str, version: int) -> ServedModel:
        """From now on this model does not answer; its engine is freed once it has answered everything."""
        old = self._models[name, version]
        self._models[name, version] = gone = ServedModel(old.spec, unloaded=True)
        _log.info("model %s is unloaded", old.spec)
        if old.engine:
            self.drainer.drain(old.engine)
        return gone

    async def close(self) -> None:
        """Answers what was accepted, then ends every engine."""
        await asyncio.gather(*(model.engine.close() for model in self.versions if model.engine))
        await self.drainer.close()

    async def _timed_load(self, model: ServedModel) -> AsyncEngine:
        self._loading_since = time.monotonic()
        engine = await self._load_engine(model)
        self._took = time.monotonic() - self._loading_since
        return engine

    def _newest(self, name: str) -> ServedModel:
        versions = [model for model in self.versions if model.name == name]
        return max(versions, key=lambda model: (model.engine is not None, not model.unloaded, model.version))

    def _loaded(self) -> list[str]:
        return [name for name, model in self.models.items() if not model.unloaded] or ["none"]

    def _spec(self, name: str, source: str | None, version: int | None) -> ModelSpec:
        try:
            known = self.find(name)
        except ModelNotFound:
            base, named = split_version(name)
            base = self.aliases.get(base, base)
            validate_name(base)
            if named and not source:
                raise BadRequest(f"version {named} of {base!r} is new: say its source") from None
            return ModelSpec(base, version or named or 1, source or base)
        if version not in (None, known.version) and not source:
            return self._spec(f"{known.name}:{version}", source, None)
        return ModelSpec(known.name, version or known.version, source or known.spec.source)
