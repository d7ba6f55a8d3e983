// A C++ guest: classes, inheritance, templates, references, namespaces; freestanding.

#define EXPORT(name) extern "C" __attribute__((export_name(#name), noinline))

// What the C++ runtime would have.
extern "C" void __cxa_pure_virtual() { __builtin_trap(); }

namespace geometry {

class Shape {
public:
    explicit Shape(const char *name) : name_(name) {}
    virtual double area() const = 0;
    const char *name() const { return name_; }

protected:
    const char *name_;
};

class Circle : public Shape {
public:
    explicit Circle(double radius) : Shape("circle"), radius_(radius) {}
    double area() const override {
        double square = radius_ * radius_;
        return 3.0 * square; // @circle
    }

private:
    double radius_;
};

class Box : public Shape {
public:
    Box(int width, int height) : Shape("box"), width_(width), height_(height) {}
    double area() const override {
        return width_ * height_; // @box
    }

private:
    int width_;
    int height_;
};

template <typename T> T larger(const T &a, const T &b) {
    return a < b ? b : a; // @larger
}

} // namespace geometry

EXPORT(measure) int measure() {
    geometry::Circle circle(2);
    geometry::Box box(3, 5);
    const geometry::Shape *shapes[] = {&circle, &box};
    double total = 0;
    for (const geometry::Shape *shape : shapes)
        total += shape->area(); // @loop
    return geometry::larger<int>(static_cast<int>(total), 20);
}
