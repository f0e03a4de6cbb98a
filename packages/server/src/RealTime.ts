/** For what waits for sockets, files and other processes: these do not follow a test's clock. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** By the time of the machine, whatever clock the program has. */
export const realTime: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Effect.withClock(
  Clock.make()
)
