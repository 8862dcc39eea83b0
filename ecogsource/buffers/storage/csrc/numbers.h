/* Numbers: their types, and casting and scaling a line of them. */
#ifndef ECOGSOURCE_NUMBERS_H
#define ECOGSOURCE_NUMBERS_H

#include <Python.h>

#include <float.h>
#include <stdint.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "Arithmetic must be done in the type of its operands, as NumPy does."
#endif

/* Numbers as files hold them: at any address. */
#define ANYWHERE __attribute__((aligned(1)))
typedef int8_t stored_int8_t;
typedef uint8_t stored_uint8_t;
typedef int16_t stored_int16_t ANYWHERE;
typedef uint16_t stored_uint16_t ANYWHERE;
typedef int32_t stored_int32_t ANYWHERE;
typedef uint32_t stored_uint32_t ANYWHERE;
typedef int64_t stored_int64_t ANYWHERE;
typedef uint64_t stored_uint64_t ANYWHERE;
typedef float stored_float ANYWHERE;
typedef double stored_double ANYWHERE;

enum { I1, U1, I2, U2, I4, U4, I8, U8, F4, F8, TYPES, OTHER = -1 };

/* Return the type that a format of the struct module names, if its bytes are in native order. */
static int
type_of(const char *format, Py_ssize_t itemsize)
{
    static const int signed_types[] = {OTHER, I1, I2, OTHER, I4, OTHER, OTHER, OTHER, I8};
    static const int unsigned_types[] = {OTHER, U1, U2, OTHER, U4, OTHER, OTHER, OTHER, U8};
#if PY_BIG_ENDIAN
    const char native = '>';
#else
    const char native = '<';
#endif
    if (format == NULL) {
        return U1;
    }
    if (*format == '@' || *format == '=' || *format == native) {
        format++;
    }
    if (format[0] == '\0' || format[1] != '\0' || itemsize > 8) {
        return OTHER;
    }
    if (strchr("bhilq", *format)) {
        return signed_types[itemsize];
    }
    if (strchr("BHILQ", *format)) {
        return unsigned_types[itemsize];
    }
    return *format == 'f' ? F4 : *format == 'd' ? F8 : OTHER;
}

/* Tell whether a format names one number, also with its bytes in the other order. */
static int
is_number(const char *format)
{
    if (*format && strchr("@=<>!", *format)) {
        format++;
    }
    return format[0] != '\0' && strchr("?bBhHiIlLqQefd", format[0]) && format[1] == '\0';
}

/* value = (stored + offset) * factor for n values; offset and factor may be missing, and have a
 * distance of 0 where one number holds for all. */
typedef void (*Converter)(char *to, Py_ssize_t to_step, const char *from, Py_ssize_t from_step,
                          Py_ssize_t n, const char *offset, Py_ssize_t offset_step,
                          const char *factor, Py_ssize_t factor_step);

#define CONVERTER(STORED, VALUE)                                                                  \
    static void convert_##STORED##_##VALUE(                                                       \
        char *to, Py_ssize_t to_step, const char *from, Py_ssize_t from_step, Py_ssize_t n,       \
        const char *offset, Py_ssize_t offset_step, const char *factor, Py_ssize_t factor_step)   \
    {                                                                                             \
        if (to_step == sizeof(VALUE) && from_step == sizeof(STORED) && !offset_step               \
            && !factor_step) {                                                                    \
            VALUE *restrict values = (VALUE *)to;                                                 \
            const stored_##STORED *restrict stored = (const stored_##STORED *)from;               \
            if (offset && factor) {                                                               \
                const VALUE add = *(const VALUE *)offset, times = *(const VALUE *)factor;         \
                for (Py_ssize_t i = 0; i < n; i++) {                                              \
                    values[i] = ((VALUE)stored[i] + add) * times;                                 \
                }                                                                                 \
            } else if (factor) {                                                                  \
                const VALUE times = *(const VALUE *)factor;                                       \
                for (Py_ssize_t i = 0; i < n; i++) {                                              \
                    values[i] = (VALUE)stored[i] * times;                                         \
                }                                                                                 \
            } else if (offset) {                                                                  \
                const VALUE add = *(const VALUE *)offset;                                         \
                for (Py_ssize_t i = 0; i < n; i++) {                                              \
                    values[i] = (VALUE)stored[i] + add;                                           \
                }                                                                                 \
            } else {                                                                              \
                for (Py_ssize_t i = 0; i < n; i++) {                                              \
                    values[i] = (VALUE)stored[i];                                                 \
                }                                                                                 \
            }                                                                                     \
            return;                                                                               \
        }                                                                                         \
        for (Py_ssize_t i = 0; i < n; i++) {                                                      \
            VALUE value = (VALUE)*(const stored_##STORED *)(from + i * from_step);                \
            if (offset) {                                                                         \
                value += *(const VALUE *)(offset + i * offset_step);                              \
            }                                                                                     \
            if (factor) {                                                                         \
                value *= *(const VALUE *)(factor + i * factor_step);                              \
            }                                                                                     \
            *(VALUE *)(to + i * to_step) = value;                                                 \
        }                                                                                         \
    }

#define CONVERTERS(VALUE)                                                                         \
    CONVERTER(int8_t, VALUE)                                                                      \
    CONVERTER(uint8_t, VALUE)                                                                     \
    CONVERTER(int16_t, VALUE)                                                                     \
    CONVERTER(uint16_t, VALUE)                                                                    \
    CONVERTER(int32_t, VALUE)                                                                     \
    CONVERTER(uint32_t, VALUE)                                                                    \
    CONVERTER(int64_t, VALUE)                                                                     \
    CONVERTER(uint64_t, VALUE)                                                                    \
    CONVERTER(float, VALUE)                                                                       \
    CONVERTER(double, VALUE)

#define CONVERTER_ROW(VALUE)                                                                      \
    {                                                                                             \
        convert_int8_t_##VALUE, convert_uint8_t_##VALUE, convert_int16_t_##VALUE,                 \
            convert_uint16_t_##VALUE, convert_int32_t_##VALUE, convert_uint32_t_##VALUE,          \
            convert_int64_t_##VALUE, convert_uint64_t_##VALUE, convert_float_##VALUE,             \
            convert_double_##VALUE                                                                \
    }

CONVERTERS(float)
CONVERTERS(double)

static const Converter CONVERTER_TO_FLOAT[TYPES] = CONVERTER_ROW(float);
static const Converter CONVERTER_TO_DOUBLE[TYPES] = CONVERTER_ROW(double);

#endif
