/** A registry is killed again and again while clients push; what it acknowledged is there, and nothing is there by half. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bundled } from "../../cli/test/support.js"
import * as Client from "./support/killedClient.js"
import * as Folder from "./support/killedFolder.js"
import * as Model from "./support/killedModel.js"
import * as Process from "./support/process.js"
import { temporaryFolder } from "./support/servers.js"

/** Of every number that the test draws: in a message where it fails, and in EREG_TEST_SEED to see it again. */
const seed = Number(process.env.EREG_TEST_SEED ?? Date.now() % 1_000_000)

const kills = 50
const clients = 6
const repositories = ["app", "app/blobs", "team/web"]

interface World {
  readonly command: string
  readonly home: string
  readonly root: string
  readonly model: Model.Model
  readonly random: () => number
  readonly uploads: Map<string, number>
  /** Files that were found right. */
  readonly seen: Set<string>
  readonly faults: Array<string>
}

/** A server on the folder; its port once it answers. */
const start = ({ command, home, root }: World) =>
  Effect.gen(function* () {
    const { child, ended, stderr, stdout } = yield* Process.start(command, home, [
      "serve",
      "--root",
      root,
      "--port",
      "0"
    ])
    yield* Process.until(() => stdout().includes("\n") || !Process.isRunning(child))
    assert.isTrue(Process.isRunning(child), `seed ${seed}: ${stderr()}`)
    return { child, ended, server: Client.connect(Number(new URL(stdout().trim()).port)) }
  })

const observe = async (server: Client.Server, { kind, name, repository }: Model.Thing): Promise<Model.Value> => {
  const path = `/v2/${repository}/${kind === "blobs" ? "blobs" : "manifests"}/${name}`
  const { body, headers, status } = await Client.send(server, "GET", path)
  if (status === 404) return undefined
  const digest = Model.digestOf(body)
  return status === 200 && headers["docker-content-digest"] === digest ? digest : `${status} ${body.length} bytes`
}

const check = async ({ faults, model }: World, server: Client.Server, things: ReadonlyArray<Model.Thing>) => {
  let next = 0
  const work = async () => {
    for (let at = next++; at < things.length; at = next++) {
      const thing = things[at]
      const fault = thing && model.found(thing, await observe(server, thing))
      if (fault !== undefined) faults.push(fault)
    }
  }
  await Promise.all(Array.from({ length: 8 }, work))
}

const checkUploads = async ({ faults, uploads }: World, server: Client.Server) => {
  for (const [location, size] of uploads) {
    const { headers, status } = await Client.send(server, "GET", location)
    const last = Number(String(headers.range).split("-")[1])
    if (status !== 204 || last + 1 < size) faults.push(`${location}: ${status} ${headers.range}, not ${size} bytes`)
  }
  uploads.clear()
}

/** What lies in the folder once the start is over. */
const checkFolder = async ({ faults, root, seen }: World) => {
  const left = () => [...repositories.flatMap((each) => Folder.indexFaults(root, each)), ...Folder.unfinished(root)]
  for (let tries = 0; tries < 200 && left().length > 0; tries++) await new Promise((resolve) => setTimeout(resolve, 25))
  faults.push(...left())
  faults.push(...Folder.wrongBlobs(root, repositories, seen))
  faults.push(...repositories.flatMap((each) => Folder.danglingTags(root, each)))
}

const isFine = ({ faults }: World, when: string) =>
  assert.deepStrictEqual(faults, [], `seed ${seed}, ${when} (EREG_TEST_SEED=${seed} draws the same numbers)`)

/** One life: looked at, put to work, killed. The number of requests that it acknowledged. */
const life = (world: World, round: number) =>
  Effect.gen(function* () {
    const { child, ended, server } = yield* start(world)
    yield* Effect.promise(async () => {
      await check(world, server, world.model.recent())
      await checkUploads(world, server)
      await checkFolder(world)
    })
    isFine(world, `after kill ${round}`)
    const { faults, model, random, uploads } = world
    const working = Array.from({ length: clients }, (_, at) =>
      Client.work({
        server,
        model,
        random,
        name: `client${at}`,
        repositories,
        uploads,
        complain: (text) => faults.push(text)
      })
    )
    yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 10 + random() * 500)))
    child.kill("SIGKILL")
    yield* ended
    const counts = yield* Effect.promise(() => Promise.all(working))
    server.agent.destroy()
    isFine(world, `before kill ${round + 1}`)
    return counts.reduce((sum, count) => sum + count, 0)
  }).pipe(Effect.scoped)

describe("ereg serve", () => {
  it.scopedLive(
    `keeps everything it acknowledged when it is killed ${kills} times`,
    () =>
      Effect.gen(function* () {
        const [command, home] = yield* Effect.all([bundled, temporaryFolder])
        const world: World = {
          command,
          home,
          root: join(home, "root"),
          model: Model.make(),
          random: Process.random(seed),
          uploads: new Map(),
          seen: new Set(),
          faults: []
        }
        let acknowledged = 0
        for (let round = 0; round < kills; round++) acknowledged += yield* life(world, round)
        // Nothing that came through one kill was lost at a later one.
        const { server } = yield* start(world)
        const all = world.model.all()
        yield* Effect.promise(() => check(world, server, all))
        yield* Effect.promise(() => checkFolder(world))
        server.agent.destroy()
        isFine(world, "at the end")
        assert.isAbove(acknowledged, kills, `seed ${seed}`)
        process.stderr.write(`seed ${seed}: ${acknowledged} changes acknowledged, ${all.length} things looked at\n`)
      }),
    300_000
  )
})
