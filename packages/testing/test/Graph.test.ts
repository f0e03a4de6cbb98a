import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { Fixture, GraphFixture, Walk } from "../src/index.js"
import { temporaryFolder } from "./support/servers.js"

const sample = (count: number) =>
  FastCheck.sample(FastCheck.noBias(GraphFixture.arbitrary), { numRuns: count, seed: 1 })

const manifest = (node: GraphFixture.Node): string => new TextDecoder().decode(node.bytes)

/** What the graphs are made for; each is looked for in what tags lead to. */
const features: Readonly<Record<string, (graph: GraphFixture.Graph) => boolean>> = {
  "a blob of two manifests": ({ manifests }) => {
    const all = [...manifests.values()].flatMap(({ blobs }) => [...new Set(blobs.map(({ digest }) => digest))])
    return new Set(all).size < all.length
  },
  "a blob by sha512": ({ blobs }) => [...blobs.keys()].some((digest) => digest.startsWith("sha512:")),
  "a manifest by sha512": ({ manifests }) => [...manifests.keys()].some((digest) => digest.startsWith("sha512:")),
  "an empty blob": ({ blobs }) => [...blobs.values()].some(({ length }) => length === 0),
  "the empty JSON": ({ blobs }) => blobs.has(Fixture.digest(new TextEncoder().encode("{}"))),
  "inline data": ({ manifests }) => [...manifests.values()].some((node) => manifest(node).includes('"data":"')),
  "a layer that lies elsewhere": ({ manifests }) =>
    [...manifests.values()].some((node) => manifest(node).includes('"urls"')),
  "a Docker image": ({ manifests }) => has(manifests, "application/vnd.docker.distribution.manifest.v2+json"),
  "a Docker list with children": ({ manifests }) =>
    [...manifests.values()].some(
      ({ children, descriptor }) => descriptor.mediaType.includes("manifest.list") && children.length > 0
    ),
  "an artifact": ({ manifests }) => [...manifests.values()].some((node) => manifest(node).includes('"artifactType"')),
  "an attestation of an image": ({ manifests }) =>
    [...manifests.values()].some((node) => manifest(node).includes('"vnd.docker.reference.digest"')),
  "an index in an index": (graph) => depth(graph) >= 3,
  "a child of two indexes": ({ manifests }) => {
    const all = [...manifests.values()].flatMap(({ children }) => [...new Set(children.map(({ digest }) => digest))])
    return new Set(all).size < all.length
  },
  "a referrer": ({ manifests }) => referrers(manifests).length > 0,
  "a referrer of a referrer": ({ manifests }) =>
    referrers(manifests).some(({ subject }) => manifests.get(subject?.digest ?? "")?.subject !== undefined),
  "a referrer of a child": (graph) =>
    referrers(graph.manifests).some(({ subject }) =>
      [...graph.manifests.values()].some(({ children }) => children.some(({ digest }) => digest === subject?.digest))
    ),
  "a subject that nobody has": ({ manifests }) =>
    [...manifests.values()].some(({ subject }) => subject !== undefined && !manifests.has(subject.digest)),
  "two tags of one digest": (graph) => GraphFixture.roots(graph).some(({ tags }) => tags.length > 1),
  "several roots": (graph) => GraphFixture.roots(graph).length > 1
}

describe("GraphFixture", () => {
  describe("arbitrary", () => {
    it("makes what images are made of, all of it again and again", () => {
      const found = new Map(Object.keys(features).map((name) => [name, 0]))
      for (const description of sample(300)) {
        const graph = GraphFixture.build(description)
        const reached = {
          ...graph,
          ...GraphFixture.closure(graph, graph.tags.values(), { referrers: true })
        }
        for (const [name, isThere] of Object.entries(features)) {
          if (isThere(reached)) found.set(name, (found.get(name) ?? 0) + 1)
        }
      }
      // One in fifty graphs at least: four in a run of all pairs of stores.
      assert.deepStrictEqual(
        [...found].filter(([, times]) => times < 6),
        []
      )
    })
  })

  describe("within", () => {
    it("leaves out what a store cannot hold, and nothing else", () => {
      for (const description of sample(100)) {
        const limits = { manifestsBySha512: false, foreign: false }
        const { manifests } = GraphFixture.build(GraphFixture.within(description, limits))
        assert.isFalse([...manifests.keys()].some((digest) => digest.startsWith("sha512:")))
        for (const node of manifests.values()) assert.notInclude(manifest(node), '"urls"')
      }
      const [description] = sample(1)
      assert.deepStrictEqual(description && GraphFixture.within(description, {}), description)
    })
  })

  describe("build", () => {
    it("gives the same bytes again, what is named in front of what names it", () => {
      for (const description of sample(50)) {
        const { manifests } = GraphFixture.build(description)
        assert.deepStrictEqual([...GraphFixture.build(description).manifests.keys()], [...manifests.keys()])
        const places = [...manifests.keys()]
        for (const [digest, node] of manifests) {
          for (const child of node.children) assert.isBelow(places.indexOf(child.digest), places.indexOf(digest))
        }
      }
    })
  })

  describe("closure", () => {
    it.scoped("is what the judge finds in a layout", () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        for (const [at, description] of sample(20).entries()) {
          const graph = GraphFixture.build(description)
          const path = join(folder, String(at))
          yield* GraphFixture.toLayout(path, graph)
          const found = yield* Walk.folder(path)
          const wanted = GraphFixture.closure(graph, graph.tags.values(), { referrers: true })
          assert.sameMembers([...found.manifests.keys()], [...wanted.manifests.keys()])
          assert.sameMembers([...found.blobs.keys()], [...wanted.blobs.keys()])
          const all = [...graph.manifests.keys(), ...graph.blobs.keys()]
          assert.sameMembers([...found.manifests.keys(), ...found.blobs.keys(), ...found.loose], all)
        }
      })
    )
  })
})

// internal

type Manifests = GraphFixture.Graph["manifests"]

const has = (manifests: Manifests, mediaType: string): boolean =>
  [...manifests.values()].some(({ descriptor }) => descriptor.mediaType === mediaType)

/** Those whose subject is there too. */
const referrers = (manifests: Manifests): ReadonlyArray<GraphFixture.Node> =>
  [...manifests.values()].filter(({ subject }) => subject !== undefined && manifests.has(subject.digest))

const depth = ({ manifests }: Pick<GraphFixture.Graph, "manifests">): number => {
  const depths = new Map<string, number>()
  for (const [digest, { children }] of manifests) {
    depths.set(digest, 1 + Math.max(0, ...children.map((child) => depths.get(child.digest) ?? 0)))
  }
  return Math.max(...depths.values())
}
