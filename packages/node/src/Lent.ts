/**
 * Buffers that are lent to whoever sends them and come back when their bytes are on the way. A sender that does not know of
 * it keeps what it got: then the buffer is garbage in the end, as any other.
 */

const owners = new WeakMap<ArrayBufferLike, () => void>()

/** The bytes, with `takeBack` called once when their sender is done with all of their buffer. */
export const lend = (bytes: Uint8Array, takeBack: () => void): Uint8Array => {
  owners.set(bytes.buffer, takeBack)
  return bytes
}

/** Says that nobody looks at these bytes any more. */
export const giveBack = (bytes: Uint8Array): void => {
  const takeBack = owners.get(bytes.buffer)
  if (takeBack === undefined) return
  owners.delete(bytes.buffer)
  takeBack()
}
