/** Chunks made by async generators, and the typed errors that those throw. */
import * as Stream from "effect/Stream"

/** Carries the typed error that chunks fail with. */
export class Broken<out E> extends Error {
  constructor(readonly error: E) {
    super("the content cannot be read to its end", { cause: error })
  }
}

/** The chunks of a generator that is opened for each run. What it throws is a `Broken`, or a defect. */
export const toStream = <E, R = never>(open: () => AsyncIterable<Uint8Array>): Stream.Stream<Uint8Array, E, R> =>
  Stream.suspend(() => Stream.fromAsyncIterable(open(), (cause) => cause)).pipe(
    // A generator says nowhere what it throws.
    Stream.catchAll((cause) => (cause instanceof Broken ? Stream.fail((cause as Broken<E>).error) : Stream.die(cause)))
  )
