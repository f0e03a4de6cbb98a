/** Ending work that is under way where it leaves something to go on from. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** The contract gives two seconds to everything that ends with a signal. */
export const grace = "1500 millis"

/**
 * Runs `self`; an interruption calls `stop` and lets it come to its end, for as long as `grace`. Whoever waits is
 * interrupted all the same.
 */
export const gracefully = <A, E, R>(self: Effect.Effect<A, E, R>, stop: () => void): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    // A daemon, because the end of a parent would end it at once, and interruptible, because it would inherit the mask.
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(self)), (fiber) =>
      Effect.onInterrupt(restore(Fiber.join(fiber)), () =>
        Effect.sync(stop).pipe(
          Effect.zipRight(Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), grace)),
          Effect.zipRight(Fiber.interrupt(fiber))
        )
      )
    )
  )
