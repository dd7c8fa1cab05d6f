/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deferred work. Operations may end within themselves and continuations may get and put again;
 * were each to run what it causes, the stack would grow with the queue. So the outermost run of a
 * thread runs it all.
 */
#include "profile_private.h"
#include <stddef.h>

static _Thread_local struct item_list *running;

void profile_items_append(struct item_list *list, struct profile_item *item)
{
    item->next = NULL;
    if (list->first)
        list->last->next = item;
    else
        list->first = item;
    list->last = item;
}

struct profile_item *profile_items_pop(struct item_list *list)
{
    struct profile_item *item = list->first;

    if (item)
        list->first = item->next;
    return item;
}

void profile_items_move_behind(struct item_list *list, struct item_list *behind)
{
    if (!behind->first)
        return;
    if (list->first)
        list->last->next = behind->first;
    else
        list->first = behind->first;
    list->last = behind->last;
    behind->first = NULL;
}

void profile_items_move_before(struct item_list *list, struct item_list *earlier)
{
    profile_items_move_behind(earlier, list);
    *list = *earlier;
    earlier->first = NULL;
}

void profile_items_run(struct item_list *list)
{
    struct profile_item *item;

    if (running) {
        profile_items_move_behind(running, list);
        return;
    }
    running = list;
    while ((item = profile_items_pop(list)))
        item->run(item);
    running = NULL;
}
