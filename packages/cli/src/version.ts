/** The version that `ereg --version` prints; the build puts it in. */
declare const EREG_VERSION: string | undefined

export const version: string = typeof EREG_VERSION === "string" ? EREG_VERSION : "0.0.0-development"
