/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A word is never longer than what it was made of, and the blank behind it has room for its
 * terminator: one buffer of the line's length holds them all.
 */
#include "words.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct splitter {
    const char *next, *end;
    char *to;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* What stands between quotes, the first of which has been taken; false: the other is missing. */
static bool take_quoted(struct splitter *s, char quote)
{
    while (s->next < s->end) {
        char c = *s->next++;

        if (c == quote)
            return true;
        if (c == '\\' && quote == '"' && s->next < s->end && strchr("\"\\$`", *s->next))
            c = *s->next++;
        *s->to++ = c;
    }
    return false;
}

static int take_word(struct splitter *s, struct ice_why *why)
{
    while (s->next < s->end && !is_blank(*s->next)) {
        char c = *s->next++;

        if (c == '\'' || c == '"') {
            if (!take_quoted(s, c))
                return why_set(why, EINVAL, "a quote (%c) is not closed", c);
        } else if (c == '\\') {
            if (s->next == s->end)
                return why_set(why, EINVAL, "nothing follows the backslash at the end");
            *s->to++ = *s->next++;
        } else {
            *s->to++ = c;
        }
    }
    *s->to++ = '\0';
    return 0;
}

int words_split(const char *line, size_t len, struct words *words, struct ice_why *why)
{
    struct splitter s = {.next = line, .end = line + len};
    int err = 0;

    if (memchr(line, 0, len))
        return why_set(why, EINVAL, "a zero byte is no text");
    *words = (struct words){
        .words = malloc((len / 2 + 3) * sizeof(char *)),
        .text = malloc(len + 2),
    };
    s.to = words->text;
    if (!words->words || !words->text) {
        err = why_set(why, ENOMEM, "no memory for a line of %zu bytes", len);
    } else {
        words->words[words->count++] = s.to;
        *s.to++ = '\0';
    }
    while (!err) {
        while (s.next < s.end && is_blank(*s.next))
            s.next++;
        if (s.next == s.end || *s.next == '#')
            break;
        words->words[words->count++] = s.to;
        err = take_word(&s, why);
    }
    if (err)
        words_free(words);
    else
        words->words[words->count] = NULL;
    return err;
}

void words_free(struct words *words)
{
    free(words->words);
    free(words->text);
    *words = (struct words){0};
}
