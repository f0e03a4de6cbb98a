/** An image with everything that is attached to images, and how it lies in a store. */
import type { Descriptor } from "@effect-registry/core"
import { Fixture, type GraphFixture } from "../../src/index.js"

const images = ["amd64", "arm64"].map((architecture, at) =>
  Fixture.image({ format: "oci", seed: 300 + at, shared: 1, platform: { os: "linux", architecture } })
)
const [amd64] = images
if (amd64 === undefined) throw new Error("a fixture without images")

/** For two platforms. */
export const root: Fixture.IndexFixture = Fixture.index(images)

const created = { "org.opencontainers.image.created": "2024-05-01T10:00:00Z" }

export const signature: Fixture.ArtifactFixture = Fixture.artifact({
  type: "application/vnd.dev.sigstore.bundle.v0.3+json",
  content: '{"signature":"of the index"}',
  subject: root.descriptor,
  annotations: created
})

/** Of one platform's image. */
export const sbom: Fixture.ArtifactFixture = Fixture.artifact({
  type: "application/spdx+json",
  content: '{"spdxVersion":"SPDX-2.3"}',
  subject: amd64.descriptor,
  annotations: created
})

/** Of the bill of materials. */
export const attestation: Fixture.ArtifactFixture = Fixture.artifact({
  type: "application/vnd.in-toto+json",
  content: '{"predicate":"who made the bill"}',
  subject: sbom.descriptor
})

/** As older cosigns keep them: found by their tag alone. */
export const cosign: Fixture.ArtifactFixture = Fixture.artifact({
  type: "application/vnd.dev.cosign.simplesigning.v1+json",
  content: '{"critical":"of the index"}'
})
export const cosignTag: string = `${root.descriptor.digest.replace(":", "-")}.sig`

type AnyFixture = Fixture.ImageFixture | Fixture.IndexFixture | Fixture.ArtifactFixture

/** Fixtures as they are put into stores, what is named in front of what names it. */
export const graphOf = (
  fixtures: ReadonlyArray<AnyFixture>,
  tags: Readonly<Record<string, AnyFixture>>
): GraphFixture.Graph => ({
  manifests: new Map(fixtures.map((each) => [each.descriptor.digest, nodeOf(each)])),
  blobs: new Map(fixtures.flatMap(({ blobs }) => [...blobs])),
  tags: new Map(Object.entries(tags).map(([tag, each]) => [tag, nodeOf(each)]))
})

const nodeOf = (fixture: AnyFixture): GraphFixture.Node => {
  const document: {
    readonly artifactType?: string
    readonly annotations?: Readonly<Record<string, string>>
    readonly config?: Descriptor.Descriptor
    readonly layers?: ReadonlyArray<Descriptor.Descriptor>
    readonly manifests?: ReadonlyArray<Descriptor.Descriptor>
    readonly subject?: Descriptor.Descriptor
  } = JSON.parse(new TextDecoder().decode(fixture.manifest))
  const { annotations, artifactType, config, layers = [], manifests = [], subject } = document
  const { digest, mediaType, size } = fixture.descriptor
  return {
    descriptor: {
      mediaType,
      digest,
      size,
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(annotations === undefined ? {} : { annotations })
    },
    bytes: fixture.manifest,
    children: manifests,
    blobs: [...(config === undefined ? [] : [config]), ...layers],
    subject
  }
}

/** All of it as `1.0`. */
export const graph: GraphFixture.Graph = graphOf([...images, root, signature, sbom, attestation, cosign], {
  "1.0": root,
  [cosignTag]: cosign
})

/** What a store must list as referrers, by subject, with type and annotations. */
export const listed: Readonly<Record<string, ReadonlyArray<unknown>>> = {
  [root.descriptor.digest]: [{ ...signature.descriptor, artifactType: signature.type, annotations: created }],
  [amd64.descriptor.digest]: [{ ...sbom.descriptor, artifactType: sbom.type, annotations: created }],
  [sbom.descriptor.digest]: [{ ...attestation.descriptor, artifactType: attestation.type }]
}
