# SPDX-License-Identifier: GPL-2.0
# The commands of this repository. All that they make lies under $(BUILD).

override BUILD := $(abspath $(or $(BUILD),build))
SCENARIO ?= default
# Without T: these, and where the series is, its own.
tests := cow khugepaged
own_tests := folio_mapcount
# By the environment, not as overrides: a kernel Makefile may use the same name.
MAKEOVERRIDES :=
export BUILD SCENARIO T EACH KERNEL_TARBALL KERNEL_SRC FORCE FROM

series := tools/series/series.sh
guest := tools/guest
runner := $(BUILD)/guest/guest
results := $(BUILD)/results
# Where the pieces of a tree lie; $(1) is patched or base.
kernel_dir = $(BUILD)/kernel/$(1)-$(SCENARIO)
image_dir = $(BUILD)/image/$(1)
bzimage = $(call kernel_dir,$(1))/arch/x86/boot/bzImage
tree_patched := $(BUILD)/linux
tree_base := $(BUILD)/linux-base

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help run test baseline compare kunit kunit-32 selftests shell tree kernel image \
	image-path fetch import base-tree export check-runner check-tools fails-on-base \
	check-series build-each checkpatch native mail deps runner recheck clean distclean \
	kernel-patched kernel-base image-patched image-base

help:	## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo 'Variables: SCENARIO=$(SCENARIO) T=tests BUILD=, KERNEL_TARBALL= or KERNEL_SRC= (own source)'

run:	## all from an empty machine: KUnit and selftests on the patched kernel
	@tools/lib/steps.sh deps import kernel image kunit selftests

test: EACH := $(or $(EACH),quick)
test:	## what CI runs: every check, build-each, KUnit, selftests
	@tools/lib/steps.sh -k deps check-tools check-runner check-series checkpatch \
		native build-each kunit kunit-32 selftests

# guest_run, $(1): patched or base, $(2): tests, $(3): another tree's programs
guest_run = $(runner) run --scenario $(guest)/scenarios/$(SCENARIO).scenario \
	--kernel $(call bzimage,$(1)) --image $(call image_dir,$(or $(3),$(1))) \
	--results $(results)/$(1) $(addprefix --test ,$(2))

selftests: kernel-patched image-patched	## T="cow khugepaged folio_mapcount" on the patched kernel
	@$(call guest_run,patched,$(or $(T),$(tests) $(own_tests)))

baseline: kernel-base image-base	## the same on the unpatched base
	@$(call guest_run,base,$(or $(T),$(tests)))

fails-on-base: kernel-base image-patched	## the series' own selftests on the base: how many cases fail
	@$(call guest_run,base,$(own_tests),patched)

# All that run_vmtests.sh runs, by category, or by program where a category takes
# long. Not what wants its own kernel module (vmalloc, page_frag), nor two hugetlb
# tests, on any kernel: charge_reserved_hugetlb.sh never ends, and with
# hugetlb_reparenting_test.sh, which patches code by making cgroups, the emulated
# CPU gets lost in an int3 now and then.
# A test that fails here is for the comparison to judge.
compare: SCENARIO := debug
compare: T := cow khugepaged split_huge_page_test transhuge-stress folio_split_race_test \
	rmap ksm ksm_numa gup_test userfaultfd migration compaction mremap mlock mmap \
	pagemap soft_dirty mkdirty madv_populate madv_guard process_madv process_mrelease \
	vma_merge mdwe memfd_secret pfnmap pkey hugevm hmm \
	hugetlb-mmap hugetlb-shm hugetlb-mremap hugetlb-madvise hugetlb_dio \
	hugetlb_fault_after_madv hugetlb_madv_vs_map thuge-gen \
	memory-failure
compare: kernel-base image-base kernel-patched image-patched	## base against patched, debug kernels: nothing may get worse
	@for tree in base patched; do \
		$(call guest_run,$$tree,$(T)); \
		case $$? in 0 | 1 | 6 | 7 | 8) ;; *) exit 1 ;; esac; \
	done
	@$(runner) compare $(results)/base/latest $(results)/patched/latest

kunit: kernel-patched runner	## KUnit tests on the patched kernel
	@$(guest)/kunit.sh $(tree_patched) $(call kernel_dir,patched) $(results)/kunit

kunit-32: import runner	## the same on a 32-bit kernel without SMP
	@ARCH=i386 $(guest)/kunit.sh $(tree_patched) $(BUILD)/kernel/kunit-i386 $(results)/kunit

native: import	## the series' arithmetic, in user space, as 64-bit and as 32-bit
	@mkdir -p $(BUILD)/native
	@$(MAKE) -s -C $(tree_patched)/tools/testing/folio_mapcount run OUT=$(BUILD)/native | \
		tools/lib/tap-sum.sh

shell: kernel-patched image-patched	## a prompt in the booted patched guest
	@$(runner) shell --scenario $(guest)/scenarios/$(SCENARIO).scenario \
		--kernel $(call bzimage,patched) --image $(call image_dir,patched)

recheck: runner	## judge the saved logs of the last run again
	@$(runner) recheck $(results)/patched/latest

tree: import	## the patched tree, and where it lies
	@echo $(tree_patched)

kernel: kernel-patched	## the patched kernel of SCENARIO

image: image-patched	## the user space of the guest

image-path:	## where the bzImage of SCENARIO lies
	@echo $(call bzimage,patched)

kernel-patched: import
kernel-base: base-tree
kernel-patched kernel-base: kernel-%:
	@$(guest)/kernel.sh $(tree_$*) $(SCENARIO) $(call kernel_dir,$*)

image-patched: import runner
image-base: base-tree runner
image-patched image-base: image-%:
	@$(guest)/image.sh $(tree_$*) $(call image_dir,$*)

runner: deps
	@$(MAKE) -s -C $(guest) BUILD=$(BUILD)

fetch: deps	## the pinned kernel source
	@tools/series/fetch.sh

import: deps	## base and patches/ as a git repository; FORCE=1 drops own commits
	@$(series) import

base-tree: deps
	@$(series) base-tree

export:	## branch series to patches/ and the mirrored files
	@$(series) export

check-runner: deps
	@$(MAKE) -s -C $(guest) BUILD=$(BUILD) check

check-tools: deps
	@tools/series/tests/run.sh

check-series: deps	## import then export leaves the repository as it is
	@$(series) check

build-each: deps	## every patch builds; EACH=changed only the new ones, EACH=quick less of it
	@$(series) build-each $(EACH)

checkpatch: deps	## checkpatch --strict and codespell
	@$(series) checkpatch

mail:	## OUT=folder FROM="Name <mail>": files for git send-email
	@$(series) mail "$(OUT)"

deps:	## install what is missing of the Debian packages
	@tools/lib/deps.sh

clean:	## remove what is built, keep source, ccache and results
	rm -rf $(addprefix $(BUILD)/,kernel image kunit guest each)

distclean:	## remove all of BUILD
	rm -rf $(BUILD)
