/** Random graphs of images, from every kind of store to every other, are there what they were. */
import { mkdtemp, rm } from "node:fs/promises"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { copy } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { GraphFixture, Tools } from "../src/index.js"
import * as Stores from "./support/graphStores.js"
import { startDocker, startEmbedded, temporaryFolder } from "./support/servers.js"

/**
 * Of the environment: `EREG_GRAPH_SEED=123` makes the graphs of another run again, `EREG_GRAPH_SEED=123:4:0:1` the one that a
 * failure told, and `EREG_GRAPH_RUNS` says how many go between each two stores.
 */
const [first, ...path] = (process.env.EREG_GRAPH_SEED ?? String(Date.now() % 2 ** 31)).split(":")
const given = Number(first)
/** Times 36 pairs of stores: 216 graphs. */
const numRuns = Number(process.env.EREG_GRAPH_RUNS ?? "6")

class Servers extends Context.Tag("Servers")<
  Servers,
  { readonly embedded: string; readonly docker: string | undefined; readonly folder: string }
>() {
  /** Started once for all pairs. */
  static readonly layer = Layer.scoped(
    Servers,
    Effect.all({
      embedded: startEmbedded(),
      docker: Tools.has("docker-registry") ? startDocker() : Effect.succeed(undefined),
      folder: temporaryFolder
    })
  )
}

type Running = Context.Tag.Service<Servers>

const kinds: Readonly<Record<string, (servers: Running) => Stores.Kind>> = {
  memory: () => Stores.memory,
  "an OCI layout": () => Stores.layout,
  "an archive": () => Stores.archive,
  "a pipe": () => Stores.pipe,
  "the embedded registry": ({ embedded }) => Stores.registry(embedded, true),
  "docker-registry": ({ docker = "" }) => Stores.dockerRegistry(docker)
}

layer(Layer.merge(Servers.layer, NodeRegistry.layer({ state: false })), { excludeTestServices: true })(
  "copies of random graphs",
  (it) => {
    for (const [n, [from, source]] of Object.entries(kinds).entries()) {
      for (const [m, [to, target]] of Object.entries(kinds).entries()) {
        const needed = [from, to].includes("docker-registry") ? ["docker-registry"] : []
        const title = `are equal from ${from} to ${to}`
        const seed = path.length > 0 ? given : given + 6 * n + m
        Tools.needing(it.effect, ...needed)(
          title,
          () =>
            Effect.gen(function* () {
              const servers = yield* Servers
              const failure = yield* check(source(servers), target(servers), servers.folder, seed)
              if (failure !== undefined) assert.fail(`${failure} -t "${title}"`)
            }),
          60_000
        )
      }
    }
  }
)

// internal

let places = 0

/** What went wrong with the smallest graph that fails, and how to see it again. */
const check = (source: Stores.Kind, target: Stores.Kind, folder: string, seed: number) =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime<Stores.Environment>()
    const descriptions = FastCheck.noBias(GraphFixture.arbitrary).map((description) =>
      GraphFixture.within(GraphFixture.within(description, source.limits), target.limits)
    )
    const copies = FastCheck.asyncProperty(descriptions, async (description) => {
      const own = await mkdtemp(join(folder, "graph-"))
      const exit = await Runtime.runPromiseExit(runtime)(isCopied(GraphFixture.build(description), source, target, own))
      await rm(own, { recursive: true, force: true })
      if (Exit.isFailure(exit))
        throw new Error(
          Cause.prettyErrors(exit.cause)
            .map(({ message }) => message)
            .join("\n")
        )
    })
    const result = yield* Effect.promise(() =>
      FastCheck.check(copies, {
        seed,
        numRuns,
        ...(path.length === 0 ? {} : { path: path.join(":") }),
        // Shrinking ends here too.
        interruptAfterTimeLimit: 30_000,
        markInterruptAsFailure: true
      })
    )
    if (!result.failed) return undefined
    const problem = result.errorInstance instanceof Error ? result.errorInstance.message : "took too long"
    const graph = FastCheck.stringify(result.counterexample?.[0])
    const again = result.counterexamplePath === null ? given : `${result.seed}:${result.counterexamplePath}`
    return `${problem}\n${graph}\nagain with EREG_GRAPH_SEED=${again}`
  })

const isCopied = (graph: GraphFixture.Graph, source: Stores.Kind, target: Stores.Kind, folder: string) =>
  Effect.gen(function* () {
    const name = `graphs/g${++places}`
    const from = yield* source.filled(folder, name, graph)
    const to = target.empty(folder, name)
    for (const { tags } of GraphFixture.roots(graph)) {
      yield* copy(from.source(tags[0] ?? ""), to.target(tags), { tags, referrers: true })
    }
    const wrong = differences(graph, yield* to.contents)
    if (wrong.length > 0) assert.fail(wrong.join("\n"))
  }).pipe(Effect.timeoutFail({ duration: "10 seconds", onTimeout: () => new Error("it hangs") }))

/** What is not as it should be, in words. */
const differences = (graph: GraphFixture.Graph, contents: Stores.Contents): ReadonlyArray<string> => {
  const expected = GraphFixture.closure(graph, graph.tags.values(), { referrers: true })
  const tags = [...graph.tags].map(([tag, { descriptor }]) => `${tag} is ${descriptor.digest}`)
  const found = [...contents.tags].map(([tag, digest]) => `${tag} is ${digest}`)
  const manifests = new Map([...expected.manifests].map(([digest, { bytes }]) => [digest, bytes]))
  return [
    ...tags.filter((each) => !found.includes(each)).map((each) => `not so: tag ${each}`),
    ...found.filter((each) => !tags.includes(each)).map((each) => `unwanted: tag ${each}`),
    ...compare("manifest", manifests, contents.manifests),
    ...compare("blob", expected.blobs, contents.blobs),
    ...contents.loose.map((digest) => `nothing leads to ${digest}`)
  ]
}

const compare = (
  what: string,
  expected: ReadonlyMap<string, Uint8Array>,
  found: ReadonlyMap<string, { readonly bytes: Uint8Array }>
): ReadonlyArray<string> => [
  ...[...expected].flatMap(([digest, bytes]) => {
    const there = found.get(digest)
    if (there === undefined) return [`missing: ${what} ${digest}`]
    return Buffer.from(bytes).equals(there.bytes) ? [] : [`other bytes: ${what} ${digest}`]
  }),
  ...[...found.keys()].filter((digest) => !expected.has(digest)).map((digest) => `unwanted: ${what} ${digest}`)
]
