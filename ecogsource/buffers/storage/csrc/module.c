/* Inner loops of reading: arrays turned, put together, cast and scaled in one pass, and many short
 * reads with one call.
 *
 * All of it can be done with NumPy and the os module, and is, where this module could not be built:
 * see loops.py, the only caller. What is gained here is that values are touched once, that no
 * call is made for each row, and that other threads run meanwhile.
 *
 * Arrays come by the buffer protocol. Nothing is allocated: tiles go through the stack.
 */
#define PY_SSIZE_T_CLEAN
#include "read.h"

/* Smaller work is done before another thread could take the interpreter lock. */
#define UNLOCKED_BYTES (1 << 15)

/* A map was looked at whose file is not there any more. */
#define LOST 2

/* The arrays of one call: those that are looked at until it is done. */
#define MAX_VIEWS 7
typedef struct {
    Py_buffer views[MAX_VIEWS];
    int count;
} Held;

static void
let_go(Held *held)
{
    while (held->count > 0) {
        PyBuffer_Release(&held->views[--held->count]);
    }
}

/* Look at an array; NULL with an exception if that cannot be done. */
static const Py_buffer *
look_at(Held *held, PyObject *array, int flags)
{
    Py_buffer *view = &held->views[held->count];
    if (PyObject_GetBuffer(array, view, flags) < 0) {
        return NULL;
    }
    held->count++;
    return view;
}

/* Look at a target and a source, and at an offset and a factor or None. 1 if their types have
 * names, 0 if one has none, -1 with an exception. */
static int
look_at_arrays(Held *held, PyObject *const *arrays, const Py_buffer **views)
{
    for (int i = 0; i < 4; i++) {
        views[i] = NULL;
        if (arrays[i] == Py_None) {
            continue;
        }
        views[i] = look_at(held, arrays[i], i ? PyBUF_RECORDS_RO : PyBUF_RECORDS);
        if (views[i] == NULL) {
            /* A type that the buffer protocol has no name for. */
            if (!PyErr_ExceptionMatches(PyExc_ValueError)
                && !PyErr_ExceptionMatches(PyExc_BufferError)) {
                return -1;
            }
            PyErr_Clear();
            return 0;
        }
    }
    if (views[0] == NULL || views[1] == NULL) {
        PyErr_SetString(PyExc_TypeError, "target and source must be arrays");
        return -1;
    }
    return 1;
}

/* Describe the copy between two arrays. 1 if that is done here, 0 if it is not, -1 with an
 * exception. */
static int
prepare_copy(Held *held, Copy *copy, PyObject *target, PyObject *source, PyObject *format,
             PyObject *offset, PyObject *factor)
{
    PyObject *arrays[] = {target, source, offset, factor};
    const Py_buffer *views[4];
    const char *name = NULL;
    if (format != Py_None && (name = PyUnicode_AsUTF8(format)) == NULL) {
        return -1;
    }
    const int known = look_at_arrays(held, arrays, views);
    return known == 1 ? plan(copy, views[0], views[1], name, views[2], views[3]) : known;
}

/* Describe the copy of listed positions of an axis; results as above. */
static int
prepare_take(Held *held, Take *take, PyObject *const *arrays, PyObject *axis, PyObject *list)
{
    const Py_buffer *views[4];
    const Py_buffer *positions = look_at(held, list, PyBUF_ND | PyBUF_FORMAT);
    const Py_ssize_t number = PyLong_AsSsize_t(axis);
    if (positions == NULL || PyErr_Occurred()) {
        return -1;
    }
    const int known = look_at_arrays(held, arrays, views);
    if (known != 1) {
        return known;
    }
    Py_buffer source = *views[1];
    Py_ssize_t shape[MAX_DIMS], strides[MAX_DIMS];
    if (source.ndim > MAX_DIMS) {
        return 0;
    }
    if (number < 0 || number >= source.ndim || positions->ndim != 1
        || type_of(positions->format, positions->itemsize) != I8) {
        PyErr_SetString(PyExc_ValueError, "an axis of the source and a list of int64 are needed");
        return -1;
    }
    memcpy(shape, source.shape, (size_t)source.ndim * sizeof *shape);
    memcpy(strides, source.strides, (size_t)source.ndim * sizeof *strides);
    take->axis = (int)number;
    take->apart = strides[number];
    take->positions = positions->buf;
    for (Py_ssize_t i = 0; i < positions->shape[0]; i++) {
        if (take->positions[i] < 0 || take->positions[i] >= shape[number]) {
            PyErr_SetString(PyExc_IndexError, "a position is outside of the source");
            return -1;
        }
    }
    shape[number] = positions->shape[0];
    strides[number] = 0;
    source.shape = shape;
    source.strides = strides;
    return plan(&take->copy, views[0], &source, NULL, views[2], views[3]);
}

/* Describe rows to read; -1 with an exception. */
static int
prepare_rows(Held *held, Rows *rows, PyObject *file, PyObject *array, PyObject *offsets)
{
    const int fd = PyObject_AsFileDescriptor(file);
    if (fd < 0) {
        return -1;
    }
    const Py_buffer *view = look_at(held, array, PyBUF_STRIDED);
    const Py_buffer *list = view ? look_at(held, offsets, PyBUF_ND | PyBUF_FORMAT) : NULL;
    if (list == NULL) {
        return -1;
    }
    Py_ssize_t length = view->itemsize;
    int whole = view->ndim > 0;
    for (int axis = view->ndim - 1; axis > 0; axis--) {
        whole = whole && (view->shape[axis] == 1 || view->strides[axis] == length);
        length *= view->shape[axis];
    }
    if (!whole || type_of(list->format, list->itemsize) != I8
        || list->len != view->shape[0] * (Py_ssize_t)sizeof(int64_t)) {
        PyErr_SetString(PyExc_ValueError, "contiguous rows are needed, and an int64 for each");
        return -1;
    }
    *rows = (Rows){fd, view->buf, view->shape[0], view->strides[0], length, list->buf};
    return 1;
}

/* Do work without the interpreter lock, if it is large, and say what became of it: 1, or LOST. */
static int
work_guarded(void (*work)(void *), void *what, Py_ssize_t nbytes)
{
    int done;
    if (nbytes < UNLOCKED_BYTES) {
        return guarded(work, what) ? 1 : LOST;
    }
    Py_BEGIN_ALLOW_THREADS
    done = guarded(work, what) ? 1 : LOST;
    Py_END_ALLOW_THREADS
    return done;
}

/* Let go, and tell Python what became of a call: whether it was done, or None if memory was lost. */
static PyObject *
outcome(Held *held, int done)
{
    let_go(held);
    if (done == LOST) {
        Py_RETURN_NONE;
    }
    return done < 0 ? NULL : PyBool_FromLong(done);
}

static int
takes(Py_ssize_t given, Py_ssize_t wanted)
{
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%zd arguments are needed, %zd were given", wanted, given);
    }
    return given == wanted;
}

PyDoc_STRVAR(copy_doc,
"copy(target, source, format, offset, factor)\n"
"--\n\n"
"Copy an array into another of the same shape, cast and scaled on the way.\n\n"
"With a format, the source is the bytes of items of that format: its first axis\n"
"holds the most significant ones first. False if that is nothing for these loops,\n"
"None if one is a map, and the file ended before or could not be read.");

static PyObject *
loops_copy(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Held held = {.count = 0};
    Copy copy;
    if (!takes(nargs, 5)) {
        return NULL;
    }
    int done = prepare_copy(&held, &copy, args[0], args[1], args[2], args[3], args[4]);
    if (done == 1) {
        done = work_guarded(copy_ordered, &copy, copy.size);
    }
    return outcome(&held, done);
}

PyDoc_STRVAR(take_doc,
"take(target, source, offset, factor, axis, positions)\n"
"--\n\n"
"Copy some positions of an axis of an array, a list of int64, as `copy` does.");

static PyObject *
loops_take(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Held held = {.count = 0};
    Take take;
    if (!takes(nargs, 6)) {
        return NULL;
    }
    int done = prepare_take(&held, &take, args, args[4], args[5]);
    if (done == 1) {
        done = work_guarded(take_listed, &take, take.copy.size);
    }
    return outcome(&held, done);
}

PyDoc_STRVAR(read_rows_doc,
"read_rows(fd, rows, offsets)\n"
"--\n\n"
"Fill each row of an array, contiguous in itself, with the bytes at its own offset.\n\n"
"Offsets are an array of int64. False if the file ended before, or could not be read.");

static PyObject *
loops_read_rows(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    Held held = {.count = 0};
    Rows rows;
    if (!takes(nargs, 3)) {
        return NULL;
    }
    int done = prepare_rows(&held, &rows, args[0], args[1], args[2]);
    if (done == 1) {
        Py_BEGIN_ALLOW_THREADS
        done = read_all(&rows);
        Py_END_ALLOW_THREADS
    }
    return outcome(&held, done);
}

PyDoc_STRVAR(watch_doc,
"watch()\n"
"--\n\n"
"Have maps of files that end before, or cannot be read, end a call and not the process.");

static PyObject *
loops_watch(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing))
{
    watch();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(read_chunks_doc,
"read_chunks(file, target, source, offsets, first, step, edges, memory, offset, factor)\n"
"--\n\n"
"Read a window of a dataset in chunks without filters, cast and scaled on the way.\n\n"
"The source, one value, only tells the type of what is stored. Offsets are a table of int64, one\n"
"for each chunk; positions begin at `first` of the first one and go on by `step`, two\n"
"numbers each. The file is a descriptor, and memory is used on the way; or it is a map,\n"
"and memory is None. False if these loops are not made for that, the file ended before,\n"
"or it could not be read; None if it is a map, and that was found while looking at it.");

static PyObject *
loops_read_chunks(PyObject *Py_UNUSED(module), PyObject *args)
{
    Held held = {.count = 0};
    Chunks chunks;
    PyObject *file, *target, *source, *offsets, *memory, *offset, *factor;
    if (!PyArg_ParseTuple(args, "OOOO(nn)(nn)(nn)OOO", &file, &target, &source, &offsets,
                          &chunks.first[0], &chunks.first[1], &chunks.step[0], &chunks.step[1],
                          &chunks.edges[0], &chunks.edges[1], &memory, &offset, &factor)) {
        return NULL;
    }
    int done = -1;
    const int mapped = memory == Py_None;
    const Py_buffer *table = look_at(&held, offsets, PyBUF_RECORDS_RO), *bytes = NULL;
    if (table != NULL) {
        bytes = look_at(&held, mapped ? file : memory, mapped ? PyBUF_SIMPLE : PyBUF_CONTIG);
    }
    if (bytes == NULL || (!mapped && (chunks.fd = PyObject_AsFileDescriptor(file)) < 0)) {
        goto end;
    }
    chunks.map = mapped ? bytes->buf : NULL;
    chunks.map_length = mapped ? bytes->len : 0;
    chunks.memory = mapped ? NULL : bytes->buf;
    chunks.room = mapped ? 0 : bytes->len;
    chunks.done = 0;
    done = prepare_copy(&held, &chunks.window, target, source, Py_None, offset, factor);
    if (done != 1) {
        goto end;
    }
    const Py_ssize_t *shape = chunks.window.shape;
    int fits = chunks.window.ndim == 2 && table->ndim == 2
               && (mapped || chunks.room >= MAX_ITEM) && type_of(table->format, table->itemsize) == I8;
    for (int axis = 0; fits && axis < 2; axis++) {
        const Py_ssize_t last = chunks.first[axis] + (shape[axis] - 1) * chunks.step[axis];
        fits = chunks.edges[axis] > 0 && chunks.first[axis] >= 0 && chunks.step[axis] > 0
               && last / chunks.edges[axis] < table->shape[axis];
        chunks.offset_steps[axis] = table->strides[axis];
    }
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the window is not inside of the chunks");
        done = -1;
        goto end;
    }
    chunks.offsets = table->buf;
    Py_BEGIN_ALLOW_THREADS
    done = guarded(read_window, &chunks) ? chunks.done : LOST;
    Py_END_ALLOW_THREADS
end:
    return outcome(&held, done);
}

static PyMethodDef methods[] = {
    {"copy", (PyCFunction)(void (*)(void))loops_copy, METH_FASTCALL, copy_doc},
    {"read_chunks", loops_read_chunks, METH_VARARGS, read_chunks_doc},
    {"read_rows", (PyCFunction)(void (*)(void))loops_read_rows, METH_FASTCALL, read_rows_doc},
    {"take", (PyCFunction)(void (*)(void))loops_take, METH_FASTCALL, take_doc},
    {"watch", loops_watch, METH_NOARGS, watch_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_loops", "Inner loops of reading; see loops.py.", 0, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__loops(void)
{
    return PyModuleDef_Init(&module);
}
