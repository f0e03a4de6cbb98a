/** How a plan looks, of a sync as of a retention: what happens to what and why, what stays by its reason, and the sum. */
import { count, table } from "./output.js"

export interface Row {
  /** One word: `delete`, `copy`, `skip`. */
  readonly action: string
  readonly name: string
  /** Further columns, such as age, digest and size. Rows have the same columns; an empty one is skipped over. */
  readonly detail: ReadonlyArray<string>
}

/** What nothing happens to. */
export interface Reason {
  /** Why, as the end of a sentence: `among the newest 10`. */
  readonly reason: string
  readonly count: number
}

export interface View {
  /** In the order they are carried out. */
  readonly rows: ReadonlyArray<Row>
  readonly unchanged: ReadonlyArray<Reason>
  /** What is said of those in `unchanged`, and what they are: `keep` and `tag`. */
  readonly verb: string
  readonly noun: string
  /** `delete 3 tags, keep 12`. */
  readonly summary: string
}

/** The plan as lines of text. */
export const lines = ({ noun, rows, summary, unchanged, verb }: View): ReadonlyArray<string> => [
  ...table(rows.map(({ action, detail, name }) => [action, name, ...detail])),
  ...unchanged.map((each) => `${verb} ${count(each.count, noun)}: ${each.reason}`),
  summary
]

/** How often each reason stands there, the most frequent first. */
export const countReasons = (reasons: Iterable<string>): ReadonlyArray<Reason> => {
  const counts = new Map<string, number>()
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  return [...counts].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count)
}
