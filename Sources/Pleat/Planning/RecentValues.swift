/// The values that were found last, for tensors that are often like others shortly before.
///
/// Layers repeat, so a model has few kinds of tensors, and those of neighbouring layers are the same.
struct RecentValues<Value> {
  /// At least the number of different tensors in a layer.
  private static var countLimit: Int { 16 }

  private var values: [Value] = []
  private var oldest = 0

  /// A value that `isWanted`; nil if there is none.
  mutating func first(where isWanted: (Value) -> Bool) -> Value? {
    guard let index = values.firstIndex(where: isWanted) else { return nil }
    // The experts of a layer are of few kinds, which are tried first from now on.
    values.swapAt(0, index)
    return values[0]
  }

  /// Keeps a value, in place of the oldest one if there are many.
  mutating func insert(_ value: Value) {
    guard values.count == Self.countLimit else { return values.append(value) }
    values[oldest] = value
    oldest = (oldest + 1) % Self.countLimit
  }
}
