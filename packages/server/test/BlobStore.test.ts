import { all } from "./suites/Backends.js"
import * as BlobStoreSuite from "./suites/BlobStoreSuite.js"

for (const backend of all) BlobStoreSuite.suite(backend)
