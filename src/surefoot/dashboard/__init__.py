"""The dashboard: an ASGI application over queues, to mount or to serve. Needs surefoot[dashboard]."""

try:
    from surefoot.dashboard.app import Dashboard as Dashboard
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] not in ("jinja2", "leather", "sse_starlette", "starlette"):
        raise
    raise ModuleNotFoundError(
        f"the dashboard needs {missing.name}, which is not installed: pip install 'surefoot[dashboard]'",
        name=missing.name,
    ) from None

__all__ = ["Dashboard"]
