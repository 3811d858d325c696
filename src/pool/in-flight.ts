/** Work that has begun and that `close` waits for. */
export class InFlight {
  #count = 0;
  #onNone: (() => void) | undefined;

  track<T>(work: Promise<T>): Promise<T> {
    this.begin();
    work.then(this.end, this.end);
    return work;
  }

  /** For work that is no promise. */
  begin(): void {
    this.#count += 1;
  }

  readonly end = (): void => {
    this.#count -= 1;
    if (this.#count === 0) this.#onNone?.();
  };

  /** Resolves when nothing is under way. One caller at a time. */
  async none(): Promise<void> {
    while (this.#count > 0) await new Promise<void>((resolve) => (this.#onNone = resolve));
  }
}
