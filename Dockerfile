# The images of the manager and of the node agent: one static binary each on distroless, for the platform that is asked for.
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v0.1.0 --target manager .
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v0.1.0 --target edge-agent .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY api api
COPY bootstrap bootstrap
COPY cmd cmd
COPY controllers controllers
COPY dataplane dataplane
COPY internal internal
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o / ./cmd/manager ./cmd/edge-agent

# Root: the host's key file and VPP's sockets belong to root. In PATH, for kubectl exec.
FROM gcr.io/distroless/static-debian12 AS edge-agent
LABEL org.opencontainers.image.source=https://github.com/edgemetal/cluster-api-provider-edgemetal
LABEL org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /edge-agent /usr/bin/edge-agent
ENTRYPOINT ["/usr/bin/edge-agent"]

FROM gcr.io/distroless/static-debian12:nonroot AS manager
LABEL org.opencontainers.image.source=https://github.com/edgemetal/cluster-api-provider-edgemetal
LABEL org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
