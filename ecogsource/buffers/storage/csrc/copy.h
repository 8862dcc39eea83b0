/* Copying arrays into each other: cast, scaled, turned and put together in one pass. */
#ifndef ECOGSOURCE_COPY_H
#define ECOGSOURCE_COPY_H

#include "numbers.h"
#include "turn.h"

#define MAX_DIMS 8
/* A tile is as many rows as fill whole lines of memory when they have become columns, and few
 * enough that its lines stay in the innermost cache. */
#define TILE 64
#define NARROW 8
#define LINE 64
#define MAX_ITEM 8
/* Bytes that stay in the innermost cache. */
#define NEAR (1 << 15)

/* What is copied, with the axes in the order in which they are walked over. The last one is that
 * along which the target is filled; the last but one that along which the source runs, if it is
 * turned. */
typedef struct {
    int ndim, turned;
    Py_ssize_t size, shape[MAX_DIMS];
    char *to;
    Py_ssize_t to_steps[MAX_DIMS];
    const char *from;
    Py_ssize_t from_steps[MAX_DIMS];
    /* Distance of the bytes of a stored item; 0 if they lie together. */
    Py_ssize_t plane;
    Py_ssize_t from_size, to_size;
    /* None where items are copied as they are. */
    Converter convert;
    const char *offset, *factor;
    Py_ssize_t offset_steps[MAX_DIMS], factor_steps[MAX_DIMS];
} Copy;

/* Where a walk over the outer axes is. */
typedef struct {
    char *to;
    const char *from, *offset, *factor;
} Place;

static inline const char *
moved(const char *number, Py_ssize_t distance)
{
    return number == NULL ? NULL : number + distance;
}

/* Copy along the last axis. */
static void
copy_line(const Copy *c, Place at)
{
    const int last = c->ndim - 1;
    const Py_ssize_t n = c->shape[last], to_step = c->to_steps[last];
    const Py_ssize_t from_step = c->from_steps[last];
    _Alignas(16) char joined[TILE * TILE * MAX_ITEM / 8];
    const Py_ssize_t most = c->plane ? (Py_ssize_t)sizeof joined / c->from_size : n;
    for (Py_ssize_t start = 0; start < n; start += most) {
        const Py_ssize_t count = n - start < most ? n - start : most;
        char *to = at.to + start * to_step;
        const char *from = at.from + start * from_step;
        Py_ssize_t step = from_step;
        if (c->plane) {
            const int direct = c->convert == NULL && to_step == c->to_size;
            join_row(direct ? to : joined, from, c->plane, from_step, count, c->from_size);
            if (direct) {
                continue;
            }
            from = joined;
            step = c->from_size;
        }
        if (c->convert == NULL) {
            copy_row(to, to_step, from, step, count, c->to_size);
        } else {
            c->convert(to, to_step, from, step, count,
                       moved(at.offset, start * c->offset_steps[last]), c->offset_steps[last],
                       moved(at.factor, start * c->factor_steps[last]), c->factor_steps[last]);
        }
    }
}

/* Ask for lines of memory that will be needed soon: rows that lie apart are no stream that the
 * processor would foresee. Asking for what is not there does no harm. */
static void
prefetch(uintptr_t from, Py_ssize_t from_row, Py_ssize_t rows, Py_ssize_t width)
{
    for (Py_ssize_t r = 0; r < rows; r++) {
        for (Py_ssize_t byte = 0; byte < width; byte += LINE) {
            __builtin_prefetch((const void *)(from + (uintptr_t)(r * from_row + byte)));
        }
    }
}

/* Copy along the last two axes, tile by tile: what is turned is cast and scaled then, while it is
 * near. */
static void
copy_turned(const Copy *c, Place at)
{
    const int row_axis = c->ndim - 1, column_axis = c->ndim - 2;
    const Py_ssize_t rows = c->shape[row_axis], columns = c->shape[column_axis];
    const Py_ssize_t to_step = c->to_steps[row_axis], to_row = c->to_steps[column_axis];
    const Py_ssize_t from_row = c->from_steps[row_axis], from_step = c->from_steps[column_axis];
    _Alignas(16) char joined[TILE * TILE * MAX_ITEM], columned[TILE * TILE * MAX_ITEM];
    const Py_ssize_t size = c->from_size;
    const int direct = c->convert == NULL;
    const int far = c->plane == 0 && apart(from_row) >= 2 * LINE;
    /* Of few columns, as chunks often have, more rows make a tile where it needs no memory. */
    const Py_ssize_t narrow = columns > NARROW ? columns : NARROW;
    const Py_ssize_t most = direct && !c->plane && narrow < TILE ? TILE * TILE / narrow : TILE;

    for (Py_ssize_t row = 0; row < rows; row += most) {
        const Py_ssize_t n = rows - row < most ? rows - row : most;
        for (Py_ssize_t column = 0; column < columns; column += TILE) {
            const Py_ssize_t width = columns - column < TILE ? columns - column : TILE;
            char *to = at.to + row * to_step + column * to_row;
            const char *from = at.from + row * from_row + column * from_step;
            Turn t = {to, to_row, to_step, from, from_row, from_step, n, width};
            if (far) {
                prefetch((uintptr_t)from + (uintptr_t)(most * from_row), from_row, n, width * size);
            }
            if (c->plane) {
                for (Py_ssize_t r = 0; r < n; r++) {
                    join_row(joined + r * width * size, from + r * from_row, c->plane, from_step,
                             width, size);
                }
                t.from = joined;
                t.from_row = width * size;
                t.from_step = size;
            }
            if (direct) {
                turn(&t, size);
                continue;
            }
            t.to = columned;
            t.to_row = n * size;
            t.to_step = size;
            turn(&t, size);
            for (Py_ssize_t i = 0; i < width; i++) {
                const Py_ssize_t offset = row * c->offset_steps[row_axis]
                                          + (column + i) * c->offset_steps[column_axis];
                const Py_ssize_t factor = row * c->factor_steps[row_axis]
                                          + (column + i) * c->factor_steps[column_axis];
                c->convert(to + i * to_row, to_step, columned + i * n * size, size, n,
                           moved(at.offset, offset), c->offset_steps[row_axis],
                           moved(at.factor, factor), c->factor_steps[row_axis]);
            }
        }
    }
}

static void
copy_all(const Copy *c)
{
    const int outer = c->ndim - 1 - c->turned;
    Py_ssize_t index[MAX_DIMS] = {0};
    Place at = {c->to, c->from, c->offset, c->factor};
    for (;;) {
        if (c->turned) {
            copy_turned(c, at);
        } else {
            copy_line(c, at);
        }
        int axis = outer - 1;
        for (; axis >= 0; axis--) {
            const Py_ssize_t back = ++index[axis] < c->shape[axis] ? 1 : 1 - c->shape[axis];
            at.to += back * c->to_steps[axis];
            at.from += back * c->from_steps[axis];
            at.offset = moved(at.offset, back * c->offset_steps[axis]);
            at.factor = moved(at.factor, back * c->factor_steps[axis]);
            if (back == 1) {
                break;
            }
            index[axis] = 0;
        }
        if (axis < 0) {
            return;
        }
    }
}

/* Tell whether all items lie where their type may be looked at. */
static int
is_aligned(const Py_buffer *view, Py_ssize_t itemsize)
{
    Py_ssize_t bits = (Py_ssize_t)(uintptr_t)view->buf;
    for (int axis = 0; axis < view->ndim; axis++) {
        bits |= view->strides[axis];
    }
    return bits % itemsize == 0;
}

/* Set the distances of an offset or a factor along the axes of the target, 0 where it is the same
 * for all; false if it does not fit. */
static int
set_steps(Py_ssize_t *steps, const Py_buffer *number, const Py_buffer *target)
{
    if (number->ndim != 0 && number->ndim != target->ndim) {
        return 0;
    }
    for (int axis = 0; axis < target->ndim; axis++) {
        steps[axis] = 0;
        if (number->ndim && number->shape[axis] != 1) {
            if (number->shape[axis] != target->shape[axis]) {
                return 0;
            }
            steps[axis] = number->strides[axis];
        }
    }
    return 1;
}

static void
swap_axes(Copy *c, int one, int other)
{
    Py_ssize_t *all[] = {c->shape, c->to_steps, c->from_steps, c->offset_steps, c->factor_steps};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const Py_ssize_t kept = all[i][one];
        all[i][one] = all[i][other];
        all[i][other] = kept;
    }
}

/* Return the axis, of the first n, along which neighbours are closest. */
static int
fast_axis(const Py_ssize_t *shape, const Py_ssize_t *steps, int n)
{
    int fast = -1;
    for (int axis = 0; axis < n; axis++) {
        if ((shape[axis] > 1 || n == 1) && (fast < 0 || apart(steps[axis]) <= apart(steps[fast]))) {
            fast = axis;
        }
    }
    return fast;
}

/* Tell whether lines along one axis follow each other along another everywhere. */
static int
follows(Copy *c, int outer, int inner)
{
    const Py_ssize_t *all[] = {c->to_steps, c->from_steps, c->offset_steps, c->factor_steps};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i][outer] != all[i][inner] * c->shape[inner]) {
            return 0;
        }
    }
    return 1;
}

/* Make one axis of neighbours that follow each other; return how many are left of the first n. */
static int
merge_axes(Copy *c, int n)
{
    for (int axis = 0; axis + 1 < n;) {
        const int inner = follows(c, axis, axis + 1) ? axis + 1 : axis;
        const int outer = inner == axis ? axis + 1 : axis;
        if (inner == axis && !follows(c, outer, inner)) {
            axis++;
            continue;
        }
        c->shape[inner] *= c->shape[outer];
        for (int i = outer; i + 1 < n; i++) {
            swap_axes(c, i, i + 1);
        }
        n--;
        axis = 0;
    }
    return n;
}

/* Copy, with the axes in the order of memory. */
static void
copy_ordered(void *copy)
{
    Copy *c = copy;
    if (c->size == 0) {
        return;
    }
    int kept = 0;
    for (int axis = 0; axis < c->ndim; axis++) {
        if (c->shape[axis] != 1) {
            swap_axes(c, axis, kept++);
        }
    }
    if (kept == 0) {
        /* One value: any axis is as good. */
        kept = 1;
    }
    kept = merge_axes(c, kept);
    c->ndim = kept;
    swap_axes(c, fast_axis(c->shape, c->to_steps, kept), kept - 1);
    const int fast = fast_axis(c->shape, c->from_steps, kept);
    c->turned = fast != kept - 1;
    if (c->turned) {
        swap_axes(c, fast, kept - 2);
    }
    copy_all(c);
}

/* Positions of the source along one axis, wanted one after the other: the copy is described as if
 * all were position 0, and `apart` is the distance of neighbours. */
typedef struct {
    Copy copy;
    int axis;
    Py_ssize_t apart;
    const int64_t *positions;
} Take;

/* Go on along an axis; the source does not move along that of a list. */
static void
move_copy(Copy *c, int axis, Py_ssize_t distance)
{
    c->to += distance * c->to_steps[axis];
    c->from += distance * c->from_steps[axis];
    c->offset = moved(c->offset, distance * c->offset_steps[axis]);
    c->factor = moved(c->factor, distance * c->factor_steps[axis]);
}

/* Gather listed items of a row. */
static void
gather_row(char *to, const char *from, const Take *t, Py_ssize_t first, Py_ssize_t n)
{
    const int64_t *positions = t->positions + first;
#define GATHER(type)                                                                               \
    for (Py_ssize_t i = 0; i < n; i++) {                                                           \
        ((type *)to)[i] = *(const stored_##type *)(from + positions[i] * t->apart);                \
    }                                                                                              \
    break
    switch (t->copy.from_size) {
    case 1: GATHER(uint8_t);
    case 2: GATHER(uint16_t);
    case 4: GATHER(uint32_t);
    case 8: GATHER(uint64_t);
    }
#undef GATHER
}

/* Copy listed columns, tile by tile: each row is looked at once, and the next tile is asked for. */
static void
take_columns(const Take *t)
{
    _Alignas(16) char tile[TILE * TILE * MAX_ITEM];
    const Copy *all = &t->copy;
    const int column_axis = t->axis, row_axis = 1 - column_axis;
    const Py_ssize_t rows = all->shape[row_axis], columns = all->shape[column_axis];
    const Py_ssize_t distance = all->from_steps[row_axis], to_row = all->to_steps[row_axis];
    const int straight = all->convert == NULL && all->to_steps[column_axis] == all->to_size;
    for (Py_ssize_t column = 0; column < columns; column += TILE) {
        const Py_ssize_t width = columns - column < TILE ? columns - column : TILE;
        for (Py_ssize_t row = 0; row < rows; row += TILE) {
            const Py_ssize_t height = rows - row < TILE ? rows - row : TILE;
            Copy c = *all;
            move_copy(&c, row_axis, row);
            move_copy(&c, column_axis, column);
            for (Py_ssize_t r = 0; r < height; r++) {
                const char *from = c.from + r * distance;
                char *to = straight ? c.to + r * to_row : tile + r * width * c.from_size;
                gather_row(to, from, t, column, width);
            }
            if (straight) {
                continue;
            }
            c.from = tile;
            c.shape[row_axis] = height;
            c.shape[column_axis] = width;
            c.size = height * width;
            c.from_steps[row_axis] = width * c.from_size;
            c.from_steps[column_axis] = c.from_size;
            copy_ordered(&c);
        }
    }
}

/* Copy what is listed, some rows at a time: as many as stay near while all of the list is taken
 * from them. */
static void
take_listed(void *take)
{
    const Take *t = take;
    const Copy *all = &t->copy;
    if (all->size == 0) {
        return;
    }
    int rows = -1;
    for (int axis = 0; axis < all->ndim; axis++) {
        if (axis != t->axis
            && (rows < 0 || apart(all->from_steps[axis]) > apart(all->from_steps[rows]))) {
            rows = axis;
        }
    }
    const Py_ssize_t size = all->from_size;
    if (all->ndim == 2 && apart(t->apart) < apart(all->from_steps[rows])
        && (size == 1 || size == 2 || size == 4 || size == 8)) {
        take_columns(t);
        return;
    }
    const Py_ssize_t listed = all->shape[t->axis], many = rows < 0 ? 1 : all->shape[rows];
    const Py_ssize_t distance = rows < 0 ? 0 : apart(all->from_steps[rows]);
    const Py_ssize_t most = distance < NEAR ? NEAR / (distance + 1) + 1 : 1;
    for (Py_ssize_t row = 0; row < many; row += most) {
        const Py_ssize_t height = many - row < most ? many - row : most;
        for (Py_ssize_t i = 0; i < listed; i++) {
            Copy c = *all;
            c.size = c.size / many / listed * height;
            c.shape[t->axis] = 1;
            move_copy(&c, t->axis, i);
            c.from += t->positions[i] * t->apart;
            if (rows >= 0) {
                c.shape[rows] = height;
                move_copy(&c, rows, row);
            }
            copy_ordered(&c);
        }
    }
}

/* Describe a copy; false if it is none of ours. A source without axes is the same value everywhere. */
static int
plan(Copy *c, const Py_buffer *target, const Py_buffer *source, const char *format,
     const Py_buffer *offset, const Py_buffer *factor)
{
    const int planes = format != NULL;
    const int ndim = target->ndim, one = source->ndim == 0;
    if ((!one && source->ndim != ndim + planes) || (one && planes) || ndim < 1 || ndim > MAX_DIMS) {
        return 0;
    }
    memset(c, 0, sizeof *c);
    c->ndim = ndim;
    c->to = target->buf;
    c->from = source->buf;
    c->to_size = target->itemsize;
    c->from_size = planes ? source->shape[0] : source->itemsize;
    c->plane = planes ? source->strides[0] : 0;
    if (planes
        && (source->itemsize != 1
            || (c->from_size != 2 && c->from_size != 4 && c->from_size != 8))) {
        return 0;
    }
    for (int axis = 0; axis < ndim; axis++) {
        c->shape[axis] = target->shape[axis];
        c->to_steps[axis] = target->strides[axis];
        if (one) {
            continue;
        }
        if (source->shape[axis + planes] != target->shape[axis]) {
            return 0;
        }
        c->from_steps[axis] = source->strides[axis + planes];
    }
    const char *from_format = planes ? format : source->format;
    const int from_type = type_of(from_format, c->from_size);
    const int to_type = type_of(target->format, c->to_size);
    const int same = from_type == OTHER
                         ? is_number(from_format) && strcmp(from_format, target->format) == 0
                         : from_type == to_type;
    if (!same || offset != NULL || factor != NULL) {
        if (from_type == OTHER || (to_type != F4 && to_type != F8)) {
            return 0;
        }
        c->convert = (to_type == F4 ? CONVERTER_TO_FLOAT : CONVERTER_TO_DOUBLE)[from_type];
    }
    if (!is_aligned(target, c->to_size)) {
        return 0;
    }
    const Py_buffer *numbers[] = {offset, factor};
    Py_ssize_t *steps[] = {c->offset_steps, c->factor_steps};
    for (int i = 0; i < 2; i++) {
        if (numbers[i] != NULL
            && (type_of(numbers[i]->format, numbers[i]->itemsize) != to_type
                || !is_aligned(numbers[i], c->to_size)
                || !set_steps(steps[i], numbers[i], target))) {
            return 0;
        }
    }
    c->offset = offset == NULL ? NULL : offset->buf;
    c->factor = factor == NULL ? NULL : factor->buf;
    c->size = target->len;
    return 1;
}

#endif
