# One image for every process; docker-compose.yml says which command runs in which container.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/app/.venv/bin:$PATH \
    ASSAY_DATA=/data

# No package is built from source here, and nobody works as root.
RUN useradd --create-home --uid 10001 assay \
    # Named volumes take their owner from these folders, whichever container comes first.
    && mkdir -p /app /data/beat /data/store /data/tokens /tokens /cache \
    && chown -R assay:assay /app /data /tokens /cache
WORKDIR /app
USER assay

# First what changes seldom: the pinned packages, without the tools of development.
COPY --chown=assay:assay pyproject.toml constraints.txt ./
COPY --chown=assay:assay tools/setup_venv.py tools/
RUN python tools/setup_venv.py --production

COPY --chown=assay:assay manage.py ./
COPY --chown=assay:assay config config
COPY --chown=assay:assay registry registry
COPY --chown=assay:assay inference inference
COPY --chown=assay:assay reviews reviews
COPY --chown=assay:assay templates templates
COPY --chown=assay:assay locale locale
COPY --chown=assay:assay static static

VOLUME /data
EXPOSE 8000 8100
CMD ["python", "manage.py", "check", "--deploy"]
