"""The dashboard: an ASGI application over queues, to mount or to serve. Needs surefoot[dashboard]."""

try:
    from surefoot.dashboard.app import Dashboard as Dashboard
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] not in ("jinja2", "leather", "sse_starlette", "starlette"):
        raise
    raise ModuleNotFoundError(
        f"the dashboard needs {_missing.name}, which is not installed: pip install 'surefoot[dashboard]'",
        name=_missing.name,
    ) from None

__all__ = ["Dashboard"]
