/** What was probably meant. */

/** Longer words are no slips of the finger, and cost time. */
const maxLength = 40

/** The candidate that is two letters away at most, or differs in case; `undefined` where there is none. */
export const nearest = (word: string, candidates: ReadonlyArray<string>): string | undefined => {
  if (word.length > maxLength) return undefined
  const scored = candidates
    .map((candidate) => ({ candidate, far: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.far - b.far)
  const [best] = scored
  return best !== undefined && best.far <= Math.min(2, Math.floor(word.length / 2)) ? best.candidate : undefined
}

// internal

/** Letters to insert, delete or replace; two that changed places count two. */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next[j] = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced)
    }
    row = next
  }
  return row[b.length] ?? 0
}
