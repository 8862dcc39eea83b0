/* Bringing items to another order: rows to columns, byte planes to whole items. */
#ifndef ECOGSOURCE_TURN_H
#define ECOGSOURCE_TURN_H

#include "numbers.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Copy rows to columns: value (r, c) is at from + r * from_row + c * from_step, and goes to
 * to + c * to_row + r * to_step. */
typedef struct {
    char *to;
    Py_ssize_t to_row, to_step;
    const char *from;
    Py_ssize_t from_row, from_step;
    Py_ssize_t rows, columns;
} Turn;

#define TURNER(ITEM)                                                                              \
    static void turn_##ITEM(const Turn *t, Py_ssize_t row, Py_ssize_t rows, Py_ssize_t column,    \
                            Py_ssize_t columns)                                                   \
    {                                                                                             \
        for (Py_ssize_t c = column; c < columns; c++) {                                           \
            char *to = t->to + c * t->to_row;                                                     \
            const char *from = t->from + c * t->from_step;                                        \
            for (Py_ssize_t r = row; r < rows; r++) {                                             \
                *(ITEM *)(to + r * t->to_step) = *(const stored_##ITEM *)(from + r * t->from_row); \
            }                                                                                     \
        }                                                                                         \
    }

TURNER(uint8_t)
TURNER(uint16_t)
TURNER(uint32_t)
TURNER(uint64_t)

#if defined(__SSE2__)

static inline __m128i
load(const char *from)
{
    return _mm_loadu_si128((const __m128i *)from);
}

static inline void
store(char *to, __m128i value)
{
    _mm_storeu_si128((__m128i *)to, value);
}

/* Each step interleaves lines that are half a block apart; after log2(lines) steps rows are
 * columns. */
static inline void
turn_block_2(const char *from, Py_ssize_t from_row, char *to, Py_ssize_t to_row)
{
    __m128i a[8], b[8];
    for (int i = 0; i < 8; i++) {
        a[i] = load(from + i * from_row);
    }
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
        b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm_unpacklo_epi16(b[i], b[i + 4]);
        a[2 * i + 1] = _mm_unpackhi_epi16(b[i], b[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        store(to + 2 * i * to_row, _mm_unpacklo_epi16(a[i], a[i + 4]));
        store(to + (2 * i + 1) * to_row, _mm_unpackhi_epi16(a[i], a[i + 4]));
    }
}

static inline void
turn_block_4(const char *from, Py_ssize_t from_row, char *to, Py_ssize_t to_row)
{
    __m128i a[4], b[4];
    for (int i = 0; i < 4; i++) {
        a[i] = load(from + i * from_row);
    }
    for (int i = 0; i < 2; i++) {
        b[2 * i] = _mm_unpacklo_epi32(a[i], a[i + 2]);
        b[2 * i + 1] = _mm_unpackhi_epi32(a[i], a[i + 2]);
    }
    for (int i = 0; i < 2; i++) {
        store(to + 2 * i * to_row, _mm_unpacklo_epi32(b[i], b[i + 2]));
        store(to + (2 * i + 1) * to_row, _mm_unpackhi_epi32(b[i], b[i + 2]));
    }
}

static inline void
turn_block_8(const char *from, Py_ssize_t from_row, char *to, Py_ssize_t to_row)
{
    const __m128i a = load(from), b = load(from + from_row);
    store(to, _mm_unpacklo_epi64(a, b));
    store(to + to_row, _mm_unpackhi_epi64(a, b));
}

#define TURN_BLOCKS(SIZE, ITEM)                                                                   \
    static void turn_blocks_##SIZE(const Turn *t)                                                 \
    {                                                                                             \
        enum { EDGE = 16 / SIZE };                                                                \
        const Py_ssize_t rows = t->rows & ~(Py_ssize_t)(EDGE - 1);                                \
        const Py_ssize_t columns = t->columns & ~(Py_ssize_t)(EDGE - 1);                          \
        for (Py_ssize_t c = 0; c < columns; c += EDGE) {                                          \
            for (Py_ssize_t r = 0; r < rows; r += EDGE) {                                         \
                turn_block_##SIZE(t->from + r * t->from_row + c * SIZE, t->from_row,              \
                                  t->to + c * t->to_row + r * SIZE, t->to_row);                   \
            }                                                                                     \
        }                                                                                         \
        turn_##ITEM(t, rows, t->rows, 0, columns);                                                \
        turn_##ITEM(t, 0, t->rows, columns, t->columns);                                          \
    }

TURN_BLOCKS(2, uint16_t)
TURN_BLOCKS(4, uint32_t)
TURN_BLOCKS(8, uint64_t)

#endif

static void
turn(const Turn *t, Py_ssize_t itemsize)
{
#if defined(__SSE2__)
    if (t->to_step == itemsize && t->from_step == itemsize) {
        switch (itemsize) {
        case 2: turn_blocks_2(t); return;
        case 4: turn_blocks_4(t); return;
        case 8: turn_blocks_8(t); return;
        }
    }
#endif
    switch (itemsize) {
    case 1: turn_uint8_t(t, 0, t->rows, 0, t->columns); return;
    case 2: turn_uint16_t(t, 0, t->rows, 0, t->columns); return;
    case 4: turn_uint32_t(t, 0, t->rows, 0, t->columns); return;
    case 8: turn_uint64_t(t, 0, t->rows, 0, t->columns); return;
    }
}

/* Copy n items one after the other. */
static void
copy_row(char *to, Py_ssize_t to_step, const char *from, Py_ssize_t from_step, Py_ssize_t n,
         Py_ssize_t itemsize)
{
    if (to_step == itemsize && from_step == itemsize) {
        memcpy(to, from, (size_t)(n * itemsize));
        return;
    }
    const Turn line = {to, 0, to_step, from, from_step, 0, n, 1};
    turn(&line, itemsize);
}

/* Put n items together whose bytes lie apart, the most significant ones first. */
static void
join_row(char *to, const char *from, Py_ssize_t plane, Py_ssize_t step, Py_ssize_t n,
         Py_ssize_t itemsize)
{
#define BYTE(NUMBER) (*(const uint8_t *)(from + (NUMBER) * plane + i * step))
    if (itemsize == 2 && step == 1) {
        uint16_t *restrict values = (uint16_t *)to;
        const uint8_t *restrict high = (const uint8_t *)from;
        const uint8_t *restrict low = (const uint8_t *)from + plane;
        for (Py_ssize_t i = 0; i < n; i++) {
            values[i] = (uint16_t)(high[i] << 8 | low[i]);
        }
    } else if (itemsize == 2) {
        for (Py_ssize_t i = 0; i < n; i++) {
            ((uint16_t *)to)[i] = (uint16_t)(BYTE(0) << 8 | BYTE(1));
        }
    } else if (itemsize == 4) {
        for (Py_ssize_t i = 0; i < n; i++) {
            ((uint32_t *)to)[i] = (uint32_t)BYTE(0) << 24 | (uint32_t)BYTE(1) << 16
                                  | (uint32_t)BYTE(2) << 8 | (uint32_t)BYTE(3);
        }
    } else {
        for (Py_ssize_t i = 0; i < n; i++) {
            uint64_t value = 0;
            for (int number = 0; number < 8; number++) {
                value = value << 8 | BYTE(number);
            }
            ((uint64_t *)to)[i] = value;
        }
    }
#undef BYTE
}

static Py_ssize_t
apart(Py_ssize_t distance)
{
    return distance < 0 ? -distance : distance;
}

#endif
