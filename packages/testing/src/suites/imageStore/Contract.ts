/** What the suite takes. */
import type { ImageSource, ImageTarget } from "@effect-registry/core"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** An empty store and what was written to it. */
export interface Store<out E, out R> {
  /** Can be opened again after a commit, where it holds more than one image or is asked what it has. */
  readonly target: ImageTarget<E, R>
  /** The image of this tag, or all; opened after the target's commit. */
  readonly source: (tag?: string) => ImageSource<E, R>
  /** The repository that names carry. Default `team/app`. */
  readonly repository?: string | undefined
}

/** What a store may have beside what every store has. */
export type Capability =
  /** The source lists what refers to a manifest. */
  | "source.referrers"
  /** The source finds other tags. */
  | "source.tagged"
  /** The target knows the referrers that it has. */
  | "target.referrers"
  /** The target knows the tags that it has. */
  | "target.isTagged"

export interface SuiteOptions {
  /** Whether the target takes content that is compressed on the way. Default `true`. */
  readonly compresses?: boolean | undefined
  /** Whether a target may be opened and closed again without a commit and then holds what it held. Default: where it has a `commit`. */
  readonly atomic?: boolean | undefined
  /** What the store does not have. Default nothing: a store that lacks more fails. */
  readonly without?: ReadonlyArray<Capability> | undefined
}

/** What the suite needs of `@effect/vitest`. */
export interface Runner {
  readonly describe: (name: string, body: () => void) => unknown
  readonly it: {
    readonly scoped: (title: string, run: () => Effect.Effect<void, unknown, Scope.Scope>) => unknown
  }
}

/** Adds a case, which gets a store of its own. */
export type Test<E, R> = (
  title: string,
  run: (store: Store<E, R>) => Effect.Effect<void, unknown, R | Scope.Scope>
) => void

export type TypedError = { readonly _tag: "RegistryError" | "TarReadError" | "ValidationError" }
