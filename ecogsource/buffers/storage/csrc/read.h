/* Reading from files by position: rows, and windows of datasets in chunks without filters. */
#ifndef ECOGSOURCE_READ_H
#define ECOGSOURCE_READ_H

#include "copy.h"
#include "guard.h"

#include <sys/types.h>
#include <unistd.h>

/* Rows of that length, or so far from each other, are worth a call of the system each. */
#define LONG_ROW (1 << 12)

/* Rows of memory, and where in a file the bytes of each are. */
typedef struct {
    int fd;
    char *to;
    Py_ssize_t count, apart, length;
    const int64_t *offsets;
} Rows;

/* Read bytes of a file; false if it ends before, or they cannot be read. */
static int
read_bytes(int fd, char *to, Py_ssize_t length, int64_t offset)
{
    while (length > 0) {
        const ssize_t got = pread(fd, to, (size_t)length, (off_t)offset);
        if (got <= 0) {
            return 0;
        }
        to += got;
        offset += got;
        length -= got;
    }
    return 1;
}

static int
read_all(const Rows *rows)
{
    for (Py_ssize_t row = 0; row < rows->count; row++) {
        if (!read_bytes(rows->fd, rows->to + row * rows->apart, rows->length, rows->offsets[row])) {
            return 0;
        }
    }
    return 1;
}

/* A window of a dataset in chunks without filters: positions `first`, `first + step` and so on of
 * rows and of columns, counted from the first chunk of a table. It is read by position, through
 * some memory, or looked at in a map of the file if there is one. */
typedef struct {
    int fd, done;
    const char *map;
    Py_ssize_t map_length;
    Copy window;
    const char *offsets;
    Py_ssize_t offset_steps[2], first[2], step[2], edges[2];
    char *memory;
    Py_ssize_t room;
} Chunks;

/* A piece of the window that lies in one chunk: where its rows and columns are in the window, the
 * position of the first value in the file, and the distances there. */
typedef struct {
    Py_ssize_t at[2], shape[2], steps[2];
    int64_t offset;
} Piece;

/* Bring a piece whose rows are in memory to its place. */
static void
copy_piece(const Chunks *chunks, const Piece *piece, const char *from, Py_ssize_t from_row)
{
    Copy c = chunks->window;
    c.size = piece->shape[0] * piece->shape[1];
    for (int axis = 0; axis < 2; axis++) {
        c.shape[axis] = piece->shape[axis];
        move_copy(&c, axis, piece->at[axis]);
    }
    c.from = from;
    c.from_steps[0] = from_row;
    c.from_steps[1] = piece->steps[1];
    copy_ordered(&c);
}

/* Return a part of a piece. */
static Piece
cut_piece(const Piece *piece, int axis, Py_ssize_t start, Py_ssize_t most)
{
    Piece part = *piece;
    part.at[axis] += start;
    part.shape[axis] = piece->shape[axis] - start < most ? piece->shape[axis] - start : most;
    part.offset += start * piece->steps[axis];
    return part;
}

/* Read rows straight to their place. */
static int
read_straight(const Chunks *chunks, const Piece *piece)
{
    const Copy *c = &chunks->window;
    char *to = c->to + piece->at[0] * c->to_steps[0] + piece->at[1] * c->to_steps[1];
    for (Py_ssize_t row = 0; row < piece->shape[0]; row++) {
        if (!read_bytes(chunks->fd, to + row * c->to_steps[0], piece->shape[1] * c->to_size,
                        piece->offset + row * piece->steps[0])) {
            return 0;
        }
    }
    return 1;
}

/* Read rows that fit, and what is between them, to memory, as many at a time as have room. */
static int
read_together(const Chunks *chunks, const Piece *piece, Py_ssize_t length)
{
    const Py_ssize_t most = (chunks->room - length) / piece->steps[0] + 1;
    for (Py_ssize_t row = 0; row < piece->shape[0]; row += most) {
        const Piece part = cut_piece(piece, 0, row, most);
        if (!read_bytes(chunks->fd, chunks->memory, (part.shape[0] - 1) * piece->steps[0] + length,
                        part.offset)) {
            return 0;
        }
        copy_piece(chunks, &part, chunks->memory, piece->steps[0]);
    }
    return 1;
}

/* Read rows to memory one by one, without what is between them; their columns too if they are far
 * from each other. */
static int
read_apart(const Chunks *chunks, const Piece *piece)
{
    const Py_ssize_t size = chunks->window.from_size, step = piece->steps[1];
    const Py_ssize_t width = step >= LONG_ROW ? 1 : (chunks->room - size) / step + 1;
    for (Py_ssize_t row = 0; row < piece->shape[0]; row++) {
        const Piece line = cut_piece(piece, 0, row, 1);
        for (Py_ssize_t column = 0; column < piece->shape[1]; column += width) {
            const Piece part = cut_piece(&line, 1, column, width);
            if (!read_bytes(chunks->fd, chunks->memory, (part.shape[1] - 1) * step + size,
                            part.offset)) {
                return 0;
            }
            copy_piece(chunks, &part, chunks->memory, 0);
        }
    }
    return 1;
}

static int
read_piece(const Chunks *chunks, const Piece *piece)
{
    const Copy *c = &chunks->window;
    const Py_ssize_t length = (piece->shape[1] - 1) * piece->steps[1] + c->from_size;
    if (chunks->map != NULL) {
        const Py_ssize_t whole = (piece->shape[0] - 1) * piece->steps[0] + length;
        if (piece->offset < 0 || piece->offset > chunks->map_length - whole) {
            return 0;
        }
        copy_piece(chunks, piece, chunks->map + piece->offset, piece->steps[0]);
        return 1;
    }
    const Py_ssize_t gap = piece->shape[0] > 1 ? piece->steps[0] - length : 0;
    if (c->convert == NULL && c->to_steps[1] == c->to_size && piece->steps[1] == c->from_size
        && (length >= LONG_ROW || gap >= LONG_ROW)) {
        return read_straight(chunks, piece);
    }
    if (length > chunks->room || gap >= LONG_ROW || piece->steps[1] >= LONG_ROW) {
        return read_apart(chunks, piece);
    }
    return read_together(chunks, piece, length);
}

static void
read_window(void *window)
{
    Chunks *chunks = window;
    const Py_ssize_t size = chunks->window.from_size;
    const Py_ssize_t *shape = chunks->window.shape, *edges = chunks->edges, *step = chunks->step;
    Piece piece = {.steps = {step[0] * edges[1] * size, step[1] * size}};
    for (; piece.at[0] < shape[0]; piece.at[0] += piece.shape[0]) {
        for (piece.at[1] = 0; piece.at[1] < shape[1]; piece.at[1] += piece.shape[1]) {
            const char *offset = chunks->offsets;
            Py_ssize_t inside[2];
            for (int axis = 0; axis < 2; axis++) {
                const Py_ssize_t position = chunks->first[axis] + piece.at[axis] * step[axis];
                const Py_ssize_t left = shape[axis] - piece.at[axis];
                inside[axis] = position % edges[axis];
                offset += position / edges[axis] * chunks->offset_steps[axis];
                piece.shape[axis] = (edges[axis] - 1 - inside[axis]) / step[axis] + 1;
                if (piece.shape[axis] > left) {
                    piece.shape[axis] = left;
                }
            }
            piece.offset = *(const int64_t *)offset + (inside[0] * edges[1] + inside[1]) * size;
            if (!read_piece(chunks, &piece)) {
                return;
            }
        }
    }
    chunks->done = 1;
}

#endif
