# One image with all binaries; docker-compose.yml says which of them a container runs.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ARG RUNNEL_COMMIT=unknown
# The caches are the builder's, not the image's; so the binaries are copied out of `target`.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p command-api -p projector -p query-api -p runnel \
    && install -D -t /out target/release/command-api target/release/projector \
        target/release/query-api target/release/runnel

FROM debian:bookworm-slim
# curl is for the health checks.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 runnel \
    && useradd --uid 10001 --gid runnel --home-dir /var/lib/runnel --create-home --shell /usr/sbin/nologin runnel
COPY --from=build /out/ /usr/local/bin/
# A container's loopback is its own: what is published is chosen outside.
ENV RUNNEL_HOME=/var/lib/runnel \
    COMMAND_LISTEN=0.0.0.0:8080 \
    QUERY_LISTEN=0.0.0.0:8081
USER 10001:10001
WORKDIR /var/lib/runnel
EXPOSE 8080 8081 9080 9081 9082
CMD ["runnel", "--help"]
