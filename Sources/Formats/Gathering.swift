internal import Bytes
internal import TensorModel

/// Assembles weights from tensors with known names, for the codecs of Hugging Face checkpoints.
extension StoredContents {
  /// The given weights, and every stored tensor that is not part of one, in file order.
  ///
  /// A weight stands where one of its parts stood; its key in `weights` is the index of that part.
  /// `unused` tensors are left out.
  func gathered(
    _ weights: [Int: GatheredTensor], leavingOut unused: Set<Int> = []
  ) -> [GatheredTensor] {
    let parts = weights.values.reduce(into: unused) { $0.formUnion($1.parts) }
    var gathered: [GatheredTensor] = []
    gathered.reserveCapacity(tensors.count)
    for index in tensors.indices {
      if let weight = weights[index] {
        gathered.append(weight)
      } else if !parts.contains(index) {
        gathered.append(GatheredTensor(plain: tensors[index], at: index))
      }
    }
    return gathered
  }
}

extension GatheredTensor {
  /// Creates a weight that consists of one stored tensor.
  init(plain tensor: StoredTensor, at index: Int) {
    self.init(info: tensor.info, part: index)
  }
}

/// Finds the stored tensors of a model by name.
struct StoredNames {
  private let stored: [StoredTensor]
  private let indices: [ExactName: Int]

  init(_ stored: [StoredTensor]) {
    self.stored = stored
    indices = Dictionary(
      stored.enumerated().map { (ExactName($1.name), $0) }, uniquingKeysWith: { _, last in last })
  }

  /// The index of the tensor with a name; nil if there is none.
  subscript(name: String) -> Int? { indices[ExactName(name)] }

  /// The paths of the layers that have a tensor with one of these endings.
  ///
  /// Each path is listed once, in file order.
  func layerPaths(endingIn endings: [String]) -> [String] {
    var seen: Set<ExactName> = []
    return stored.compactMap { tensor in
      guard let ending = endings.first(where: tensor.name.hasSuffix) else { return nil }
      let path = String(tensor.name.dropLast(ending.count))
      return seen.insert(ExactName(path)).inserted ? path : nil
    }
  }

  /// The indices of the tensors of a layer; each name is appended to the path of the layer.
  ///
  /// Throws `malformed` if one is missing.
  func parts(_ names: [String], of path: String) throws(ModelError) -> [Int] {
    let names = names.map { path + $0 }
    let found = names.compactMap { self[$0] }
    guard found.count == names.count else {
      throw ModelError(
        .malformed, "a tensor of a quantized weight is missing", tensor: path,
        expected: names.joined(separator: ", "),
        found: found.map { stored[$0].name }.joined(separator: ", "))
    }
    return found
  }
}
