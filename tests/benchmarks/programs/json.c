// A recursive-descent parser of JSON, and a walk over what it has read.
#include "bench.h"
static const char *const text =
    "{\"items\":[{\"id\":101,\"name\":\"keyboard\",\"price\":49.5,\"tags\":[\"usb\",\"black\"]},"
    "{\"id\":102,\"name\":\"mouse \\\"pro\\\"\",\"price\":25,\"tags\":[]},"
    "{\"id\":103,\"name\":\"monitor\",\"price\":310.75,\"tags\":[\"4k\",\"27 inch\",\"ips\",null]}],"
    "\"customer\":{\"name\":\"Ada\",\"address\":{\"city\":\"London\",\"zip\":\"NW1\"},\"vip\":true},"
    "\"numbers\":[1,2,3,5,8,13,21,34,55,89,144,233,377,610,987,1597],\"paid\":false}";
typedef enum { NOTHING, NO, YES, NUMBER, STRING, LIST, OBJECT } Kind;
typedef struct Value {
  Kind kind;
  double number;
  const char *string;
  u32 length;
  struct Value *first, *next;
} Value;
static Value values[512];
static u32 used;
static const char *at;
static void blanks(void) { while (*at == ' ' || *at == '\n') at++; }
static Value *value(void);
static void string(Value *v) {
  v->string = ++at;
  while (*at != '"') at += *at == '\\' ? 2 : 1;
  v->length = (u32)(at++ - v->string);
}
static void number(Value *v) {
  double n = 0, scale = 1;
  for (; *at >= '0' && *at <= '9'; at++) n = n * 10 + (*at - '0');
  if (*at == '.')
    for (at++; *at >= '0' && *at <= '9'; at++) n += (*at - '0') * (scale /= 10);
  v->number = n;
}
static void children(Value *v, char end) {
  Value **last = &v->first;
  at++;
  for (blanks(); *at != end; blanks()) {
    *last = value();
    last = &(*last)->next;
    if (*at == ',' || *at == ':') at++;
  }
  at++;
}
static Value *value(void) {
  blanks();
  Value *v = &values[used++];
  *v = (Value){0};
  switch (*at) {
    case '{': v->kind = OBJECT; children(v, '}'); break;
    case '[': v->kind = LIST; children(v, ']'); break;
    case '"': v->kind = STRING; string(v); break;
    case 't': v->kind = YES; at += 4; break;
    case 'f': v->kind = NO; at += 5; break;
    case 'n': v->kind = NOTHING; at += 4; break;
    default: v->kind = NUMBER; number(v);
  }
  return v;
}
static double sum(const Value *v) {
  double s = v->kind == NUMBER ? v->number : v->length;
  for (const Value *child = v->first; child; child = child->next) s += sum(child);
  return s;
}
EXPORT int run(int n) {
  double total = 0;
  for (int i = 0; i < n * 10; i++) {
    at = text;
    used = 0;
    total += sum(value());
  }
  return (int)(total / n);
}
