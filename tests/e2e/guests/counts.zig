// A Zig guest: a struct, a slice, an optional, an enum.

pub const panic = @import("std").debug.no_panic;

const Kind = enum { even, odd };

const Count = struct {
    kind: Kind,
    total: u32,

    fn add(self: *Count, value: u32) void {
        self.total += value; // @add
    }
};

var numbers = [_]u32{ 3, 4, 5, 6 };

fn tally(values: []const u32, kind: Kind) Count {
    var count = Count{ .kind = kind, .total = 0 };
    for (values) |value| {
        if ((value % 2 == 0) == (kind == .even)) {
            count.add(value);
        }
    }
    return count; // @tally
}

export fn run() u32 {
    const odd = tally(&numbers, .odd);
    const even = tally(&numbers, .even);
    return odd.total * 100 + even.total; // @run
}
