/** Every way in which the Nth request of an operation can fail, tried at every N, with a judge that is not our client. */

import { assert } from "@effect/vitest"
import { BlobInfoCache, Progress, RegistryConfig, UploadJournal } from "@effect-registry/core"
import type { NodeRegistry } from "@effect-registry/node"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { TcpProxy, Walk } from "../../src/index.js"

/** One way to fail. `refused` has no fault: the port is closed when the request comes. */
export interface Kind {
  readonly name: string
  readonly fault?: TcpProxy.Fault
  /** The body that must be there for it to happen. */
  readonly body?: "request" | "answer"
  /** It is waited for, rather than noticed. */
  readonly waits?: boolean
}

/** Half of a body; where its length is not known a place that the bodies of these tests reach. */
const middle = (length: number | undefined): number =>
  length === 0 ? Number.POSITIVE_INFINITY : Math.floor((length ?? 60_000) / 2)

const json = { "content-type": "application/json" }
const error = (code: string) => JSON.stringify({ errors: [{ code, message: "scripted" }] })

export const kinds = {
  refused: { name: "refused" },
  reset: { name: "reset before it is passed on", fault: TcpProxy.disconnect },
  lost: { name: "reset before the answer's headers", fault: TcpProxy.cutResponse(0) },
  cutRequest: { name: "reset in the request's body", fault: TcpProxy.cutRequest(middle), body: "request" },
  cutAnswer: { name: "reset in the answer's body", fault: TcpProxy.cutResponse(middle), body: "answer" },
  limited: {
    name: "429",
    fault: TcpProxy.respond(429, { ...json, "retry-after": "1" }, error("TOOMANYREQUESTS")),
    waits: true
  },
  error: { name: "500", fault: TcpProxy.respond(500, json, error("UNKNOWN")) },
  unavailable: { name: "503", fault: TcpProxy.respond(503) },
  shortRequest: { name: "request's body shortened", fault: TcpProxy.shortenRequest(middle), body: "request" },
  truncated: { name: "answer's body truncated", fault: TcpProxy.truncateResponse(middle), body: "answer" },
  shortAnswer: { name: "answer's body shortened", fault: TcpProxy.shortenResponse(middle), body: "answer" },
  silent: { name: "no answer", fault: TcpProxy.silence, waits: true },
  stallRequest: {
    name: "stall in the request's body",
    fault: TcpProxy.stallRequest(middle),
    body: "request",
    waits: true
  },
  stallAnswer: {
    name: "stall in the answer's body",
    fault: TcpProxy.stallResponse(middle),
    body: "answer",
    waits: true
  },
  flipRequest: { name: "flipped bit in the request's body", fault: TcpProxy.flipRequest(middle), body: "request" },
  flipAnswer: { name: "flipped bit in the answer's body", fault: TcpProxy.flipResponse(middle), body: "answer" }
} as const satisfies Readonly<Record<string, Kind>>

/** What a fault is put into. */
export interface Operation {
  readonly name: string
  /** The servers it talks to, each through a proxy of the run's own. */
  readonly servers: ReadonlyArray<string>
  /** Default 1: then every request has the same place in every run. */
  readonly concurrency?: number | undefined
  /** Of the requests of a run without a fault, `METHOD /path`, those that are failed. Default all. */
  readonly only?: RegExp | undefined
  /** Laid over the configuration of every run. */
  readonly config?: Partial<RegistryConfig.Service> | undefined
  /** Everything that a run changes has its `id`, so that many run at once. */
  readonly prepare: (id: string) => Effect.Effect<Run, never, Scope.Scope>
}

export interface Run {
  /** With the hosts of the proxies, in the order of `servers`; the last one is the configured registry. */
  readonly perform: (hosts: ReadonlyArray<string>) => Effect.Effect<unknown, Failure, NodeRegistry.Provided>
  /** What the proxies do where no fault is due. */
  readonly script?:
    | ((request: TcpProxy.ProxiedRequest, hosts: ReadonlyArray<string>) => TcpProxy.Fault | undefined)
    | undefined
  /** Fails unless all that was asked for is there, and right. */
  readonly complete: Effect.Effect<unknown, Walk.WalkError>
  /** Fails where something can be seen that is not complete. */
  readonly sound: Effect.Effect<unknown, Walk.WalkError>
}

interface Failure {
  readonly _tag: string
  readonly message: string
}

/** A fault at the request of this place in the run, or at every one from it on. */
interface Plan {
  readonly kind: Kind
  readonly place: number
  readonly lasting: boolean
}

interface Seen {
  readonly text: string
  /** Which bodies it has, as far as a request tells. */
  readonly request: boolean
  readonly answer: boolean
}

interface Outcome {
  readonly requests: ReadonlyArray<Seen>
  readonly problem: string | undefined
}

/** Every kind at every place: the operation completes. Returns the requests of a run without a fault. */
export const completes = (operation: Operation, which: ReadonlyArray<Kind> = Object.values(kinds)) =>
  enumerate(operation, which, false)

/** Every kind from every place on: the operation fails with an error of ours, soon, and nothing half done can be seen. */
export const fails = (operation: Operation, which: ReadonlyArray<Kind> = lasting) => enumerate(operation, which, true)

const lasting = [kinds.refused, kinds.lost, kinds.unavailable, kinds.silent, kinds.flipRequest, kinds.flipAnswer]

/** Fails where a tag of the repository names something that is not whole. */
export const soundTags = (url: string, repository: string): Effect.Effect<void, Walk.WalkError> =>
  Effect.flatMap(tagsOf(url, repository), (tags) =>
    Effect.forEach(tags, (tag) => Walk.registry(url, repository, tag), { discard: true })
  )

// internal

/** The tags of a repository; none where it is unknown. */
const tagsOf = (url: string, repository: string): Effect.Effect<ReadonlyArray<string>> =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/v2/${repository}/tags/list`)
    const { tags } = (await response.json()) as { readonly tags?: ReadonlyArray<string> | null }
    return tags ?? []
  })

/** Runs at once: of the faults that strike at once, and of those that mostly wait. */
const parallel = { striking: 3, waiting: 32 }

/** An operation whose every request fails ends long before. */
const bound = "30 seconds"

let runs = 0

const enumerate = (operation: Operation, which: ReadonlyArray<Kind>, lasting: boolean) =>
  Effect.gen(function* () {
    const clean = yield* attempt(operation, undefined)
    assert.isUndefined(clean.problem, `${operation.name} without a fault`)
    const plans = which.flatMap((kind) =>
      clean.requests.flatMap(
        (seen, place): ReadonlyArray<Plan> =>
          (kind.body === undefined || seen[kind.body]) && (operation.only ?? /^/).test(seen.text)
            ? [{ kind, place, lasting }]
            : []
      )
    )
    const runAll = (some: ReadonlyArray<Plan>, concurrency: number) =>
      Effect.forEach(some, (plan) => Effect.map(attempt(operation, plan), (outcome) => ({ ...outcome, plan })), {
        concurrency
      })
    const outcomes = (yield* Effect.all(
      [
        runAll(
          plans.filter(({ kind }) => kind.waits !== true),
          parallel.striking
        ),
        runAll(
          plans.filter(({ kind }) => kind.waits === true),
          parallel.waiting
        )
      ],
      { concurrency: 2 }
    )).flat()
    const problems = outcomes.flatMap(({ plan, problem, requests }) =>
      problem === undefined
        ? []
        : [`${operation.name}, request ${plan.place} (${requests[plan.place]?.text}), ${plan.kind.name}: ${problem}`]
    )
    assert.deepStrictEqual(problems, [], `${problems.length} of ${outcomes.length}`)
    return clean.requests.map(({ text }) => text)
  })

const attempt = (operation: Operation, plan: Plan | undefined): Effect.Effect<Outcome, never, NodeRegistry.Provided> =>
  Effect.scoped(
    Effect.gen(function* () {
      const run = yield* operation.prepare(`r${++runs}`)
      const requests: Array<Seen> = []
      let retries = 0
      const refuses = plan !== undefined && plan.kind.fault === undefined
      const closePorts = Effect.suspend(() => Effect.forEach(proxies, ({ closePort }) => closePort))
      const openPorts = Effect.suspend(() => Effect.forEach(proxies, ({ accept }) => accept))
      const onEvent = ({ _tag }: Progress.ProgressEvent) => {
        if (_tag !== "Retrying") return
        retries++
        // The moment that the port is closed for ends when somebody was refused.
        if (refuses && !plan.lasting) Effect.runFork(openPorts)
      }
      const script: TcpProxy.Script = (request) => {
        const place = requests.push(seenOf(request)) - 1
        if (refuses && place === plan.place - 1) Effect.runSync(closePorts)
        const due = plan !== undefined && (plan.lasting ? place >= plan.place : place === plan.place)
        return due && plan.kind.fault !== undefined ? plan.kind.fault : run.script?.(request, hosts())
      }
      const proxies: ReadonlyArray<TcpProxy.TcpProxy> = yield* Effect.forEach(operation.servers, (url) =>
        TcpProxy.make(url, script, { keepAlive: !refuses })
      )
      const hosts = () => proxies.map(({ host }) => host)
      if (refuses && plan.place === 0) yield* closePorts
      const config = RegistryConfig.make({
        url: proxies[proxies.length - 1]?.url,
        concurrency: operation.concurrency ?? 1,
        retry: { delay: "1 millis", maxDelay: "4 millis" }
      })
      const [time, exit] = yield* run
        .perform(proxies.map(({ host }) => host))
        .pipe(
          Effect.provideService(RegistryConfig.RegistryConfig, { ...config, ...operation.config }),
          Effect.provideService(Progress.Progress, { emit: onEvent }),
          Effect.provideServiceEffect(UploadJournal.UploadJournal, UploadJournal.makeMemory),
          Effect.provideServiceEffect(BlobInfoCache.BlobInfoCache, BlobInfoCache.makeMemory),
          Effect.timeoutFail({ duration: bound, onTimeout: () => ({ _tag: "Unbounded", message: "no end" }) }),
          Effect.exit,
          Effect.timed
        )
      const struck = refuses ? retries > 0 : proxies.some((proxy) => proxy.struck() > 0)
      const judged = yield* Effect.either(Effect.asVoid(Exit.isSuccess(exit) ? run.complete : run.sound))
      const problem =
        plan !== undefined && !struck && (operation.concurrency ?? 1) === 1
          ? "it did not happen"
          : Either.isLeft(judged)
            ? `after ${describe(exit)}: ${judged.left.message}`
            : unexpected(exit, plan)
      return { requests, problem: problem && `${problem} (${Duration.toMillis(time).toFixed()} ms)` }
    })
  )

const seenOf = ({ headers, method, url }: TcpProxy.ProxiedRequest): Seen => ({
  text: `${method} ${url.replace(/\?.*/, "")}`,
  request: Number(headers["content-length"] ?? 0) > 0 || headers["transfer-encoding"] !== undefined,
  answer: (method === "GET" && !url.includes("/uploads/")) || url.startsWith("/token")
})

/** What is wrong with the end of an operation whose results are in order. */
const unexpected = (exit: Exit.Exit<unknown, Failure>, plan: Plan | undefined): string | undefined => {
  const fails = plan?.lasting === true
  if (Exit.isSuccess(exit)) return fails ? describe(exit) : undefined
  const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
  const typed = ["RegistryError", "TarReadError", "ValidationError"].includes(failure?._tag ?? "")
  return fails && typed ? undefined : describe(exit)
}

const describe = (exit: Exit.Exit<unknown, Failure>): string =>
  Exit.isSuccess(exit)
    ? "success"
    : Option.match(Cause.failureOption(exit.cause), {
        onNone: () => Cause.pretty(exit.cause),
        onSome: ({ _tag, message }) => `${_tag}: ${message}`
      })
