/** `repository:tag`, as archives write the names of images. */
import type { ImageName } from "@effect-registry/core"
import * as Option from "effect/Option"

/**
 * Splits `repository:tag` at the last colon behind the last slash, so that a port is no tag:
 * `localhost:5000/app` is a repository without tag.
 */
export const parseRepositoryTag = (text: string): ImageName => {
  const named = text.split("@", 1)[0] ?? text
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1)
  return colon < 0
    ? { repository: Option.some(named), tag: Option.none() }
    : { repository: Option.some(named.slice(0, colon)), tag: Option.some(named.slice(colon + 1)) }
}
