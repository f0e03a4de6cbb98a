/*
 * The zstd library without a libc, for instances that have a memory of their own and do one thing: the encoder makes a frame of
 * a block, the decoder undoes any frames. `scripts/build-zstd.mjs` makes one module of this and the library's sources.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include "zstd.h"
#include "zstd_errors.h"

#define EXPORT(name) __attribute__((export_name(name)))
typedef unsigned char byte;

/* ---- memory: the library gives back last what it took first, so that a stack is enough */

extern byte __heap_base;

typedef struct {
    /* The piece below. */
    size_t before;
    /* Given back while there was one above. */
    size_t dead;
} piece;

/* Behind the last piece, and the last piece. */
static size_t top, last;

static void* take(void* opaque, size_t size) {
    (void)opaque;
    if (top == 0) top = ((size_t)&__heap_base + 63) & ~(size_t)63;
    const size_t at = top + 64;
    const size_t end = (at + size + 63) & ~(size_t)63;
    if (end < at) return NULL;
    const size_t have = __builtin_wasm_memory_size(0) << 16;
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + 0xffff) >> 16) == (size_t)-1) return NULL;
    piece* const head = (piece*)top;
    head->before = last;
    head->dead = 0;
    last = top;
    top = end;
    return (void*)at;
}

static void give(void* opaque, void* address) {
    (void)opaque;
    if (address == NULL) return;
    ((piece*)((size_t)address - 64))->dead = 1;
    while (last != 0 && ((piece*)last)->dead) {
        top = last;
        last = ((piece*)last)->before;
    }
}

static const ZSTD_customMem memory = {take, give, NULL};

/* ---- the encoder */

static byte *plain, *frame, *again;
static size_t plainSize, frameSize;
static ZSTD_CCtx* encoding;
static ZSTD_DCtx* checking;

/* Room for blocks of so many bytes; 0 where there is no memory. */
EXPORT("encoder") int encoder(size_t size, int level) {
    plainSize = size;
    frameSize = ZSTD_compressBound(size) + 32;
    plain = take(NULL, plainSize);
    frame = take(NULL, frameSize);
    encoding = ZSTD_createCCtx_advanced(memory);
    if (plain == NULL || frame == NULL || encoding == NULL) return 0;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(encoding, ZSTD_c_compressionLevel, level))) return 0;
    return !ZSTD_isError(ZSTD_CCtx_setParameter(encoding, ZSTD_c_checksumFlag, 1));
}

EXPORT("plain") byte* plainAt(void) { return plain; }
EXPORT("frame") byte* frameAt(void) { return frame; }

/* The size of the frame that the first bytes of `plain` become; 0 where there is no memory. */
EXPORT("compress") size_t compress(size_t size) {
    const size_t result = ZSTD_compress2(encoding, frame, frameSize, plain, size);
    return ZSTD_isError(result) ? 0 : result;
}

/* Whether `frame` becomes the first bytes of `plain` again. */
EXPORT("verify") int verify(size_t size, size_t plainBytes) {
    if (checking == NULL) {
        again = take(NULL, plainSize);
        checking = ZSTD_createDCtx_advanced(memory);
        if (again == NULL || checking == NULL) return 0;
    }
    if (ZSTD_decompressDCtx(checking, again, plainSize, frame, size) != plainBytes) return 0;
    for (size_t i = 0; i < plainBytes; i++)
        if (again[i] != plain[i]) return 0;
    return 1;
}

/* ---- the decoder */

static ZSTD_inBuffer in;
static ZSTD_outBuffer out;
static ZSTD_DCtx* decoding;

/* Room for so many bytes on both sides, and the largest window by its logarithm; 0 where there is no memory. */
EXPORT("decoder") int decoder(size_t inSize, size_t outSize, int windowLog) {
    in.src = take(NULL, inSize);
    out.dst = take(NULL, outSize);
    out.size = outSize;
    decoding = ZSTD_createDCtx_advanced(memory);
    if (in.src == NULL || out.dst == NULL || decoding == NULL) return 0;
    return !ZSTD_isError(ZSTD_DCtx_setParameter(decoding, ZSTD_d_windowLogMax, windowLog));
}

EXPORT("input") const void* inputAt(void) { return in.src; }
EXPORT("output") void* outputAt(void) { return out.dst; }

/* So many bytes are in `input` now; how many the decoder has not read; how many it wrote to `output`. */
EXPORT("feed") void feed(size_t size) {
    in.size = size;
    in.pos = 0;
}
EXPORT("left") size_t left(void) { return in.size - in.pos; }
EXPORT("made") size_t made(void) { return out.pos; }

/* Fills `output` as far as the input goes: 0 at the end of a frame, 1 within one, else the error's number, negative. */
EXPORT("decompress") int decompress(void) {
    out.pos = 0;
    const size_t result = ZSTD_decompressStream(decoding, &out, &in);
    if (ZSTD_isError(result)) return -(int)ZSTD_getErrorCode(result);
    return result == 0 ? 0 : 1;
}

/* ---- what compiler and library ask for */

void* memcpy(void* restrict to, const void* restrict from, size_t size) { return __builtin_memcpy(to, from, size); }
void* memmove(void* to, const void* from, size_t size) { return __builtin_memmove(to, from, size); }
void* memset(void* to, int value, size_t size) { return __builtin_memset(to, value, size); }
/* Everything is taken through `memory`. */
void* malloc(size_t size) { (void)size; return NULL; }
void* calloc(size_t count, size_t size) { (void)count; (void)size; return NULL; }
void free(void* address) { (void)address; }
