package import TensorModel

/// A weight and the stored tensors it consists of.
package struct GatheredTensor: Sendable {
  /// The weight.
  package var info: TensorInfo
  fileprivate var source: Source

  /// Where the bytes of a weight come from.
  fileprivate struct Source: Sendable {
    var parts: StoredIndices
    // Few weights need it. A model may have 100,000, so the others have no room for it.
    var box: Box?

    indirect enum Box: Sendable {
      case details(Details)
    }

    struct Details: Sendable {
      var layouts: [RowLayout] = []
      var forms: [PartForm] = []
      var view: TensorView?
    }

    var details: Details {
      get { if case .details(let details) = box { details } else { Details() } }
      set {
        let isEmpty = newValue.layouts.isEmpty && newValue.forms.isEmpty && newValue.view == nil
        box = isEmpty ? nil : .details(newValue)
      }
    }
  }

  /// Creates a weight that is stored as it is.
  package init(
    info: TensorInfo, parts: some RandomAccessCollection<Int>, layouts: [RowLayout] = [],
    forms: [PartForm] = []
  ) {
    self.info = info
    source = Source(parts: StoredIndices(parts))
    source.details = Source.Details(layouts: layouts, forms: forms)
  }

  /// Creates a weight that is one stored tensor.
  init(info: TensorInfo, part: Int) {
    self.info = info
    source = Source(parts: StoredIndices(part..<part + 1))
  }

  fileprivate init(_ info: TensorInfo, _ source: Source) {
    self.info = info
    self.source = source
  }

  /// Indices of the stored tensors, in the codec's order.
  package var parts: StoredIndices {
    get { source.parts }
    set { source.parts = newValue }
  }

  /// The row layout of each part; empty if rows are contiguous in all of them.
  package var layouts: [RowLayout] {
    get { source.details.layouts }
    set { source.details.layouts = newValue }
  }

  /// How the bytes of each part follow from the stored ones; empty if they are the same in all.
  package var forms: [PartForm] {
    get { source.details.forms }
    set { source.details.forms = newValue }
  }

  /// Whether another weight is stored in the same form, so that only names and places differ.
  ///
  /// `stored` has the stored tensors of both. Views that move rows are, whichever rows they have.
  package func isLike(_ other: GatheredTensor, in stored: [StoredTensor]) -> Bool {
    guard info.form == other.info.form, parts.count == other.parts.count else { return false }
    if source.box != nil || other.source.box != nil {
      let (own, others) = (source.details, other.source.details)
      guard (own.view == nil) == (others.view == nil), own.layouts == others.layouts,
        own.forms == others.forms
      else { return false }
    }
    for part in 0..<parts.count where !stored[parts[part]].isLike(stored[other.parts[part]]) {
      return false
    }
    return true
  }

  /// How the weight is read from another one with these parts; nil if it is stored as it is.
  package var view: TensorView? {
    get { source.details.view }
    set { source.details.view = newValue }
  }
}

/// The weights of a model, whose descriptions are one array with those of its catalog.
package struct GatheredTensors: Sendable, RandomAccessCollection {
  /// The descriptions of the weights, in order.
  package let infos: [TensorInfo]
  private let sources: [GatheredTensor.Source]

  /// Creates the collection.
  package init(_ tensors: [GatheredTensor]) {
    infos = tensors.map(\.info)
    sources = tensors.map(\.source)
  }

  package var startIndex: Int { 0 }
  package var endIndex: Int { infos.count }
  package subscript(index: Int) -> GatheredTensor { GatheredTensor(infos[index], sources[index]) }
}
