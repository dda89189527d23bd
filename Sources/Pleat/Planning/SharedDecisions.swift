/// The decisions that were made last, for tensors of which the same is decided.
///
/// The experts of all layers have few different grounds, so a planner decides about few of them.
struct SharedDecisions<Grounds: Equatable> {
  private var recent = RecentValues<Known>()

  private final class Known {
    let grounds: Grounds
    let wish: TensorWish

    init(_ grounds: Grounds, _ wish: TensorWish) {
      self.grounds = grounds
      self.wish = wish
    }
  }

  /// The wish for a tensor with these grounds; nil if the planner has to decide.
  mutating func wish(named name: String, on grounds: Grounds) -> TensorWish? {
    recent.first { $0.grounds == grounds }.map { TensorWish(name, like: $0.wish) }
  }

  /// Keeps a decision, and returns it.
  @discardableResult
  mutating func keep(_ wish: TensorWish, on grounds: Grounds) -> TensorWish {
    recent.insert(Known(grounds, wish))
    return wish
  }
}
