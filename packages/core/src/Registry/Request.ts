/**
 * A call to a registry: sends it, authenticates where the registry asks for it, follows redirects. Nothing here tries
 * twice after a failure; see `Retry`.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { type RegistryError, safeUrl } from "../RegistryError.js"
import * as Auth from "./Auth.js"
import type { Client } from "./Client.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Redirect from "./Redirect.js"

/** Sends it once and follows redirects. The body of the answer can be read while the scope is open. */
export const send = (
  client: Client,
  call: Exchange.Call
): Effect.Effect<Exchange.Response, RegistryError, Scope.Scope> =>
  Effect.gen(function* () {
    yield* client.state.gate.pass
    let url = call.url
    for (let hop = 0; hop <= Redirect.maxRedirects; hop++) {
      const { close, response } = yield* authenticated(client, call, url)
      const location = Redirect.target(call.method, response.status, response.headers.location)
      if (Option.isNone(location)) return yield* Exchange.check(client, call, response)
      yield* Exchange.drain(response)
      yield* close
      url = (yield* Exchange.judge(client, { ...call, url }, location.value, "redirect")).href
    }
    const detail = `more than ${Redirect.maxRedirects} redirects`
    return yield* Effect.fail(Failure.make(call, "Protocol", { detail }))
  }).pipe(
    Effect.catchAll((error) => Effect.flatMap(Auth.explain(client, error), Effect.fail)),
    Effect.withSpan("effect-registry.request", {
      kind: "client",
      attributes: { operation: call.operation, method: call.method, url: safeUrl(call.url) }
    })
  )

// internal

/** The token of an answer may have come damaged, so one more is worth a try. */
const maxFreshTokens = 2

/** One answer, after a refusal with fresh credentials where there are some. */
const authenticated = (client: Client, call: Exchange.Call, url: string) =>
  Effect.gen(function* () {
    let authorization = yield* Auth.known(client, call, url)
    let answer = yield* apart(Exchange.exchange(client, call, url, authorization))
    for (let tries = 0; tries < maxFreshTokens && answer.response.status === 401; tries++) {
      const fresh = yield* Auth.answer(client, call, answer.response, authorization)
      if (Option.isNone(fresh)) return answer
      yield* Exchange.drain(answer.response)
      yield* answer.close
      authorization = fresh
      answer = yield* apart(Exchange.exchange(client, call, url, authorization))
    }
    return answer
  })

/** In a scope of its own, which can be closed before the caller's is. */
const apart = <E>(exchange: Effect.Effect<Exchange.Response, E, Scope.Scope>) =>
  Effect.gen(function* () {
    const outer = yield* Effect.scope
    const scope = yield* Scope.fork(outer, outer.strategy)
    const response = yield* Scope.extend(exchange, scope)
    return { response, close: Scope.close(scope, Exit.void) }
  })
