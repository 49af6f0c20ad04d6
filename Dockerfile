# Everything in one container, as `make serve` runs it; compose.yaml runs its parts in containers of their own.
#
#   docker build -t sequin-auth .
#
# To report errors or traces, add --build-arg EXTRAS="sentry opentelemetry": their libraries.
# DATABASE_URL, SECRET_KEY, ENCRYPTION_KEYS and PUBLIC_URL come from the environment: docs/operating.md.

FROM python:3.11.14-slim-bookworm AS build

WORKDIR /app
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
ARG EXTRAS=
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-cache --no-default-groups --group syncs ${EXTRAS:+$(printf -- "--extra %s " $EXTRAS)} \
    --compile-bytecode
COPY manage.py gunicorn.conf.py ./
COPY sequin_auth sequin_auth
COPY providers providers
COPY oauth_apps oauth_apps
COPY credentials credentials
COPY syncs syncs
COPY templates templates
COPY static static
COPY docs/openapi.json docs/openapi.json
COPY examples/container/healthy.py examples/container/healthy.py
RUN [".venv/bin/python", "-m", "compileall", "-q", "manage.py", "gunicorn.conf.py", "sequin_auth", "providers", "oauth_apps", "credentials", "syncs"]

FROM python:3.11.14-slim-bookworm

RUN groupadd --system --gid 10001 sequin \
    && useradd --system --uid 10001 --gid sequin --no-create-home --shell /usr/sbin/nologin sequin \
    && install --directory --owner sequin --group sequin --mode 0700 /var/lib/sequin-auth /var/lib/sequin-auth/static
WORKDIR /app
# Owned by root: what runs cannot change what it runs
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 ENV_FILE= VAR_DIR=/var/lib/sequin-auth BIND=0.0.0.0 PORT=8000
USER 10001:10001
VOLUME ["/var/lib/sequin-auth"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["python", "examples/container/healthy.py"]
CMD ["python", "manage.py", "serve"]
