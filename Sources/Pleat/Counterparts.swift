internal import Formats
internal import TensorModel

/// Which tensors of a reference are to be compared with a tensor, and how.
///
/// They have the same name, or that which llama.cpp has for them where the model is GGUF and the
/// reference a checkpoint.
struct Counterparts {
  /// A tensor of the reference.
  struct Counterpart {
    /// Its index in the catalog.
    var index: Int
    /// What became of it; nil where it stayed.
    var placement: GGUFTranslation.Tensor?
  }

  private var byName: [ExactName: [Counterpart]] = [:]
  private var order: [ExactName] = []
  private let additions: Set<ExactName>

  /// The counterparts of all tensors of a model.
  ///
  /// Throws what translating the reference throws.
  init(of model: Model, in reference: Model) throws(ModelError) {
    let isTranslated = model.format == .gguf && reference.needsTranslation(to: .gguf)
    let translation = isTranslated ? try reference.translation() : nil
    additions = Set((translation?.additions ?? []).map { ExactName($0.stored.name) })
    for (index, tensor) in reference.catalog.tensors.enumerated() {
      let placement = translation?.tensors[index]
      if translation != nil, placement == nil { continue }
      let name = ExactName(placement?.name ?? tensor.name)
      if byName[name] == nil { order.append(name) }
      byName[name, default: []].append(Counterpart(index: index, placement: placement))
    }
  }

  /// Takes out what a tensor is compared with: nothing for one that only llama.cpp has, nil for a
  /// stranger.
  mutating func take(_ name: String) -> [Counterpart]? {
    byName.removeValue(forKey: ExactName(name)) ?? (additions.contains(ExactName(name)) ? [] : nil)
  }

  /// The names of what was not taken, in order.
  var names: [String] { order.filter { byName[$0] != nil }.map(\.text).sorted() }
}

extension Counterparts.Counterpart {
  /// The shape that a tensor has which is made of this one and its like.
  func shape(of own: Shape) -> Shape {
    guard let stack = placement?.stack else { return own }
    return Shape(validating: [stack.count] + own.dimensions) ?? own
  }

  /// The rows before those of this tensor, where it is one of a stack.
  func firstRow(of own: Shape) -> Int { (placement?.stack?.index ?? 0) * own.rowCount }

  /// Numbers of whole heads as the other side has them, from how they are here.
  func moved(_ values: [Float], columnCount: Int) -> [Float] {
    guard let placement else { return values }
    var result = values
    if let order = placement.rowOrder {
      for row in 0..<values.count / columnCount {
        let source = order.huggingFaceRow(ofInterleaved: row) * columnCount
        for column in 0..<columnCount {
          result[row * columnCount + column] = values[source + column]
        }
      }
    }
    if placement.addsOne { for index in result.indices { result[index] += 1 } }
    return result
  }
}
