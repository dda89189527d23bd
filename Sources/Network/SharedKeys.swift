internal import Kernels

/// The keys and values that later layers use, while a batch is computed without a cache.
final class SharedKeys {
  private let sources: Set<Int>
  private var found: [Int: LayerPass.Cache] = [:]

  /// Creates an empty set; with a cache, which has all keys, none are kept.
  init(_ layers: [DecoderShape.Layer], hasCache: Bool) {
    sources = hasCache ? [] : Set(layers.compactMap(\.source))
  }

  /// Keeps the keys and values of a layer if others use them.
  func keep(_ cache: LayerPass.Cache, ofLayer layer: Int) {
    if sources.contains(layer) { found[layer] = cache }
  }

  /// The keys and values of a layer that was computed before.
  func cache(ofLayer layer: Int) -> LayerPass.Cache {
    guard let cache = found[layer] else { preconditionFailure("expected layers in their order") }
    return cache
  }
}
