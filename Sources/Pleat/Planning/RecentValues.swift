/// The values that were found last, for tensors that are often like others shortly before.
///
/// Layers repeat, so a model has few kinds of tensors, and those of neighbouring layers are the same.
struct RecentValues<Value> {
  /// At least the number of different tensors in a layer.
  private static var countLimit: Int { 16 }

  private var values: [Value] = []
  private var oldest = 0

  /// The first value that `isWanted`; nil if there is none.
  func first(where isWanted: (Value) -> Bool) -> Value? { values.first(where: isWanted) }

  /// Keeps a value, in place of the oldest one if there are many.
  mutating func insert(_ value: Value) {
    guard values.count == Self.countLimit else { return values.append(value) }
    values[oldest] = value
    oldest = (oldest + 1) % Self.countLimit
  }
}
