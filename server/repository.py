"""Model repository: served models by name and version, loaded, replaced and unloaded at run time."""

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
    """Models of one service. A name stands for its newest loaded version, `name:2` for version 2.

    Args:
        load: creates the engine of a model; the message of its exception becomes the model's failure reason.
        served, aliases: override the models and aliases of the settings, which may have changed at run time.
        control: loads, unloads and sets aliases, if another process owns the models.

    Raises:
        ValueError: two models have the same name and version, or an alias is not valid.
    """

    def __init__(
        self,
        settings: Settings,
        load: Loader,
        *,
        served: Sequence[ServedModel] | None = None,
        aliases: Mapping[str, str] | None = None,
        control: ModelControl | None = None,
    ) -> None:
        self._load_engine = load
        self._load_timeout = settings.load_timeout
        self._load_started = time.monotonic()
        self._load_seconds: float | None = None
        """Duration of the last load."""
        self._control = control
        self.aliases = dict(settings.aliases if aliases is None else aliases)
        specs = parse_model_specs(settings.model, settings.models, settings.aliases)
        models = [ServedModel(spec) for spec in specs] if served is None else served
        self._models = {model.spec.key: model for model in models}
        self._first = specs[0].name
        self._lock = asyncio.Lock()
        self.drainer = EngineDrainer()

    @property
    def versions(self) -> list[ServedModel]:
        """All versions of all models, in order; unloaded ones too, which can be loaded again."""
        return list(self._models.values())

    @property
    def default(self) -> str:
        """Name of the default model, for requests that name none."""
        return self.find(None).name

    @property
    def models(self) -> dict[str, ServedModel]:
        """Current version of each model, by name."""
        return {name: self._newest(name) for name in dict.fromkeys(name for name, _ in self._models)}

    @property
    def state(self) -> State:
        """State of the service: failed if any model has failed, else loading if any is loading, else ready."""
        states = {model.state for model in self.versions}
        return "failed" if "failed" in states else "loading" if "loading" in states else "ready"

    @property
    def failures(self) -> list[str]:
        """Names and reasons of failed models."""
        return [f"{model.name}: {model.reason}" for model in self.versions if model.state == "failed"]

    def find(self, name: str | None) -> ServedModel:
        """Model of a name, an alias or `name:version`, in any state; None: the default model.

        Raises:
            ModelNotFound: there is no such model.
        """
        name = self.aliases.get(DEFAULT_ALIAS, self._first) if name is None else name
        name = self.aliases.get(name, name)
        if any(name == known for known, _ in self._models):
            return self._newest(name)
        base, version = split_version(name)
        model = self._models.get((self.aliases.get(base, base), version or 0))
        if model is None:
            raise ModelNotFound(f"model {name!r} is not served; available: {', '.join([*self.models, *self.aliases])}")
        return model

    def engine(self, name: str | None) -> AsyncEngine:
        """Engine of a model, or of the default model (None).

        Call again after every `await`: the engine may have been replaced, and a replaced engine soon rejects requests.

        Raises:
            ModelNotFound: no model of that name is served, or it is unloaded.
            NotReady: the model is still loading, or has failed to load.
        """
        model = self.find(name)
        if model.unloaded:
            raise ModelNotFound(f"model {model.name!r} is not loaded; loaded models: {', '.join(self._loaded())}")
        if model.engine is None:
            message = f"model {model.name!r} is {model.state}{': ' if model.reason else ''}{model.reason}"
            remaining = (
                None if self._load_seconds is None else self._load_seconds - (time.monotonic() - self._load_started)
            )
            raise NotReady(message, remaining)
        return model.engine

    def reject_if_full(self) -> None:
        """Reject a request whose body, which names the model, is not read yet, if the queues of all models are full.

        Raises:
            Overloaded: from the default model if it is loaded, else from another one.
        """
        engines = [model.engine for model in self.versions if model.engine]
        if engines and all(engine.admission.full for engine in engines):
            engine = self.find(None).engine or engines[0]
            engine.admission.reject_if_full()

    async def start(self) -> None:
        """Load all models that are not loaded yet, one after the other. A failed load does not affect the others."""
        async with self._lock:
            for model in [model for model in self.versions if model.engine is None and not model.unloaded]:
                try:
                    model.engine = await self._timed_load(model)
                except Exception as error:
                    model.reason = str(error) or repr(error)
                    _log.error("model %s could not be loaded: %s", model.name, model.reason)
                if model.engine and self._models[model.spec.key] is not model:  # replaced meanwhile
                    self.drainer.drain(model.engine)

    async def load(self, name: str, source: str | None = None, version: int | None = None) -> ServedModel:
        """Load and warm up a model, then serve it under its name; a model that it replaces drains.

        The replaced model finishes the requests it has accepted and is freed then. Until then both use memory.

        Args:
            name: of a new or a served model: `cats`, `cats:2`, or an alias.
            source: as for `--model`; default: the source of the served model; for a new one, its name.
            version: default: the version of the served model, or 1.

        Raises:
            BadRequest: the name or version is not valid.
            LoadFailed: with the reason; the models served before still are.
            NotReady: no model can be loaded at the moment.
        """
        spec = self._spec(name, source, version)
        if self._control is not None:
            await self._control.load(spec)
            return self.find(str(spec))
        async with self._lock:
            model = ServedModel(spec)
            try:
                model.engine = await abandon_after(self._load_timeout, self._timed_load(model))
            except Exception as error:
                _log.error("model %s could not be loaded: %s", spec, error)
                raise LoadFailed(f"model {spec} could not be loaded: {error or repr(error)}") from error
            self.install(model)
        return model

    async def unload(self, name: str) -> list[ServedModel]:
        """Unload all versions of a model, or the one named by `name:version`. They can be loaded again.

        Raises:
            ModelNotFound: there is no such model.
        """
        target = self.find(name)
        all_versions = self.aliases.get(name, name) == target.name
        models = [model for model in self.versions if model is target or (all_versions and model.name == target.name)]
        if self._control is not None:
            await self._control.unload([model.spec for model in models])
            return [self._models[model.spec.key] for model in models]
        async with self._lock:
            return [self.remove(*model.spec.key) for model in models]

    async def set_alias(self, alias: str, target: str | None) -> dict[str, str]:
        """Set an alias to a served name or `name:version`, or delete it (None). Returns all aliases.

        Raises:
            BadRequest: the alias is not valid.
            ModelNotFound: there is no such target, or no such alias to delete.
            NotReady: the target is loading, or was unloaded meanwhile.
        """
        if target is None and alias not in self.aliases:
            raise ModelNotFound(f"unknown alias {alias!r}; existing aliases: {', '.join(self.aliases) or 'none'}")
        if target is not None:
            validate_name(alias)
            if alias in self.models or split_version(alias)[1]:
                raise BadRequest(f"{alias!r} is the name of a model or version, and cannot be an alias as well")
            self.engine(target)
            target = self.aliases.get(target, target)
            target = target if target in self.models else str(self.find(target).spec)
        if self._control is not None:
            await self._control.set_alias(alias, target)
        elif target is None:
            del self.aliases[alias]
        else:
            self.aliases[alias] = target
        return self.aliases

    def install(self, model: ServedModel) -> None:
        """Serve `model` from now on; the engine that it replaces drains."""
        old = self._models.get(model.spec.key)
        self._models[model.spec.key] = model
        _log.info("model %s is %s", model.spec, "replaced" if old and old.engine else "loaded")
        if old and old.engine:
            self.drainer.drain(old.engine)

    def remove(self, name: str, version: int) -> ServedModel:
        """Stop serving a model; its engine drains. Returns the model in its new state."""
        old = self._models[name, version]
        self._models[name, version] = unloaded = ServedModel(old.spec, unloaded=True)
        _log.info("model %s is unloaded", old.spec)
        if old.engine:
            self.drainer.drain(old.engine)
        return unloaded

    async def close(self) -> None:
        """Finish accepted requests, then close all engines."""
        await asyncio.gather(*(model.engine.close() for model in self.versions if model.engine))
        await self.drainer.close()

    async def _timed_load(self, model: ServedModel) -> AsyncEngine:
        self._load_started = time.monotonic()
        engine = await self._load_engine(model)
        self._load_seconds = time.monotonic() - self._load_started
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
                raise BadRequest(f"version {named} of {base!r} is not served: give its source to load it") from None
            return ModelSpec(base, version or named or 1, source or base)
        if version not in (None, known.version) and not source:
            return self._spec(f"{known.name}:{version}", source, None)
        return ModelSpec(known.name, version or known.version, source or known.spec.source)
