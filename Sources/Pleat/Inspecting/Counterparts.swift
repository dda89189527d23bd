internal import Formats
internal import TensorModel
internal import Weights

/// Finds the tensors of a reference that a tensor of a model must be compared with.
///
/// They have the same name. If the model is GGUF and the reference is a checkpoint, the names of
/// the reference are translated to those of llama.cpp.
struct Counterparts {
  /// A tensor of the reference.
  struct Counterpart {
    /// The index in the reference's catalog.
    var index: Int
    /// The translation to llama.cpp's name and row order; nil without a translation.
    var placement: GGUFTranslation.Tensor?
    /// The index of the changes by adapters, if it is not that of the tensor.
    var changeIndex: Int?
  }

  /// Whether the names of the reference are translated to those of llama.cpp.
  let areTranslated: Bool
  private var byName: [ExactName: [Counterpart]] = [:]
  private var order: [ExactName] = []
  private let additions: Set<ExactName>
  /// What was compared because embeddings serve as a head; empty if no side ties them.
  private(set) var notes: [String] = []

  /// Finds the counterparts of all tensors of a model.
  ///
  /// Throws what translating the reference throws.
  init(of model: Model, in reference: Model) throws(ModelError) {
    areTranslated = reference.needsTranslation(to: model.format)
    let translation = areTranslated ? try reference.translation() : nil
    additions = Set((translation?.additions ?? []).map { ExactName($0.stored.name) })
    for (index, tensor) in reference.catalog.tensors.enumerated() {
      let placement = translation?.tensors[index]
      if translation != nil, placement == nil { continue }
      let name = ExactName(placement?.name ?? tensor.name)
      if byName[name] == nil { order.append(name) }
      byName[name, default: []].append(Counterpart(index: index, placement: placement))
    }
    try followTies(of: model, in: reference, translation)
  }

  /// Adds what a head has to be compared with, if the embeddings of a side serve as its head.
  private mutating func followTies(
    of model: Model, in reference: Model, _ translation: GGUFTranslation?
  ) throws(ModelError) {
    guard let own = try EmbeddingTie(model), let other = try EmbeddingTie(reference) else { return }
    let table = ExactName(model.catalog.tensors[own.table].name)
    let otherHead = other.head.map {
      Counterpart(index: $0, placement: translation?.tensors[$0], changeIndex: nil)
    }
    let tiedHead = Counterpart(
      index: other.table, placement: nil, changeIndex: reference.unstoredHeadIndex)
    switch (own.head, otherHead) {
    case (let head?, nil):
      let name = ExactName(model.catalog.tensors[head].name)
      if byName[name] == nil { order.append(name) }
      byName[name] = [tiedHead]
      notes.append("the embeddings of the reference are its head")
    case (nil, let head?):
      let name = ExactName(
        head.placement?.name ?? reference.catalog.tensors[head.index].name)
      byName[name] = nil
      byName[table, default: []].append(head)
      notes.append("the embeddings of the model are its head")
    case (nil, nil): byName[table, default: []].append(tiedHead)
    case (.some, .some): break
    }
  }

  /// Removes and returns the counterparts of a tensor; nil if the name is unknown.
  ///
  /// Empty for a tensor that only llama.cpp has. Several for a stack of matrices that are separate
  /// tensors in the reference.
  mutating func take(_ name: String) -> [Counterpart]? {
    byName.removeValue(forKey: ExactName(name)) ?? (additions.contains(ExactName(name)) ? [] : nil)
  }

  /// The sorted names of tensors that were not taken.
  var names: [String] { order.filter { byName[$0] != nil }.map(\.text).sorted() }
}

extension Counterparts.Counterpart {
  /// The shape of the tensor in the model, from the shape `own` in the reference.
  ///
  /// A stack has one dimension more.
  func shape(of own: Shape) -> Shape {
    guard let stack = placement?.stack else { return own }
    return Shape(validating: [stack.count] + own.dimensions) ?? own
  }

  /// The index of the first row in the tensor of the model; 0 unless that is a stack.
  func firstRow(of own: Shape) -> Int { (placement?.stack?.index ?? 0) * own.rowCount }

  /// Numbers of the reference in the row order and the form of the model.
  ///
  /// `values` are complete heads.
  func translated(_ values: [Float], columnCount: Int) -> [Float] {
    guard let placement else { return values }
    var result = placement.rowOrder?.interleaved(values, rowLength: columnCount) ?? values
    if placement.addsOne { for index in result.indices { result[index] += 1 } }
    return result
  }
}
